"""What the machine gives: devices, several processes, memory, files that are whole or not there."""
