"""Train and judge `pico`, the hearing, thinking and speaking set that ships inside the repository."""
