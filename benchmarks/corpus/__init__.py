"""The files that Weighbridge is measured on: ordinary ones from real libraries, and hostile ones."""
