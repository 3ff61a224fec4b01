"""Links to other programs: DDS and ROS 2, bags, OpenIGTLink."""
