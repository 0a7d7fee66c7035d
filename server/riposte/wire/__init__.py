"""What goes over a wire: the frames of the native protocol, and their encodings."""
