#!/usr/bin/env bash
# Power cuts and a full disk, on small loop-mounted file systems. Needs root, mount and mkfs.ext4;
# says so and succeeds where it may not mount (a container, say).
#
# Usage: .ci/power-cut.sh PATH_OF_THE_EVENTYARD_BINARY [CUTS]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binary=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
cuts=${2:-8}

skip() {
  echo "power cut and full disk: skipped, $1"
  exit 0
}
[[ $(id -u) -eq 0 ]] || skip "this is not root"
for tool in python3 mount umount mkfs.ext4; do
  command -v "$tool" > /dev/null || skip "there is no $tool"
done
probe=$(mktemp -d)
truncate --size 8M "$probe/image"
mkfs.ext4 -q -F "$probe/image" > /dev/null
mkdir "$probe/mnt"
if ! mount -o loop "$probe/image" "$probe/mnt" 2> /dev/null; then
  rm -rf "$probe"
  skip "loop devices cannot be mounted here"
fi
umount "$probe/mnt"
rm -rf "$probe"

status=0
PYTHONDONTWRITEBYTECODE=1 python3 "$here/disk/power_cut.py" "$binary" "$cuts" || status=1
PYTHONDONTWRITEBYTECODE=1 python3 "$here/disk/full_disk.py" "$binary" || status=1
exit "$status"
