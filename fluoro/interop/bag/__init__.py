"""ROS 2 bags (MCAP)."""
