"""Where fold jobs run: in this process, in processes of their own, on Ray actors."""
