#!/usr/bin/env bash
# Builds the ROS 2 node of the tests: build.sh FOLDER makes FOLDER/node. Needs Debian's or Ubuntu's g++,
# libfastrtps-dev and fastddsgen.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
cp "$here/ros2.idl" .
fastddsgen -cs -typeros2 -replace ros2.idl >fastddsgen.log
jobs=
for source in ros2.cxx ros2PubSubTypes.cxx "$here/node.cpp"; do
    g++ -std=c++17 -O1 -I. -c "$source" -o "$(basename "${source%.*}").o" &
    jobs+=" $!"
done
for job in $jobs; do wait "$job"; done
g++ ros2.o ros2PubSubTypes.o node.o -lfastrtps -lfastcdr -o node
