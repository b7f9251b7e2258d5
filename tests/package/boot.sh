#!/usr/bin/env bash
# Starts a Debian's own systemd as process 1 of namespaces of its own, over what DIR holds; changes go to DIR.changes.
# usage: boot.sh DIR BIND fresh|read-only     run by booted.py under unshare; standard input is the console
#   BIND       is shown at /packages
#   fresh      begins without changes; read-only: with those of before, and all read-only but what a unit must write
set -euo pipefail
root=$1 changes=$1.changes
mount --make-rprivate /
[ "$3" != fresh ] || rm -rf "$changes"
mkdir -p "$changes/upper" "$changes/work"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$changes/upper,workdir=$changes/work" "$root"
rm -f "$root/usr/sbin/policy-rc.d" # here services start
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
for folder in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
chmod 1777 "$root/tmp"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind /dev/$device "$root/dev/$device"
done
mknod "$root/dev/other" c 1 11 # one that no unit may open
mkdir -p "$root/dev/pts" "$root/dev/shm" "$root/packages"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
ln -s pts/ptmx "$root/dev/ptmx"
touch "$root/dev/console"
mount --bind "$(readlink /proc/self/fd/0)" "$root/dev/console"
mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
mkdir "$root"/sys/fs/cgroup/{systemd,unified,cpu,memory,devices,pids}
mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
for controller in cpu memory devices pids; do mount -t cgroup -o $controller cgroup "$root/sys/fs/cgroup/$controller"; done
mount --bind "$2" "$root/packages"
ip link set lo up
mkdir -p "$root/mnt"
if [ "$3" = read-only ]; then
  # As provisioning/README.md advises: the unit's data and kernels, and the last time; logs in memory.
  for place in var/lib/rekam var/cache/rekam var/lib/systemd/timesync; do
    mkdir -p "$root/$place"
    mount --bind "$root/$place" "$root/$place"
  done
  for place in var/log var/tmp; do mount -t tmpfs tmpfs "$root/$place"; done
  mount -o remount,bind,ro "$root"
fi
cd "$root"
pivot_root . mnt
umount -l /mnt
exec env -i container=rekam PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=console --show-status=0
