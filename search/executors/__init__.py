"""Where fold jobs run: in this process, in spawned processes, on Ray actors."""
