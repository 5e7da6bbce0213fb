# SPDX-License-Identifier: Apache-2.0
# Copyright the Portcullis authors
#
# Tries what a sandbox must refuse, and prints a line for each thing that WORKED, then `done`. perl-base is on every Debian.
# Usage: probe.pl OPEN-DIRECTORY HOME yes|no [disconnect], given as perl -e TEXT WORDS; yes for a target that is not root.
# System call numbers are those of x86-64.
use Socket;
$| = 1;
my ($open, $home, $ordinary, $disconnect) = @ARGV;
sub worked { print "WORKED @_\n" }

# Files: everywhere that anybody can usually write, and a directory and file that are open to all.
for my $d ("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", "/etc", "/usr/bin", "/var/lib", "/", $open, $home, ".") {
    my $f = "$d/probe-$$";
    if (sysopen(my $h, $f, 0102, 0666)) { worked("write", $d); unlink $f }
    if (mkdir "$f.d") { worked("mkdir", $d); rmdir "$f.d" }
    if (symlink "x", "$f.l") { worked("symlink", $d); unlink "$f.l" }
}
my $file = "$open/file";
sysopen(my $h, $file, 1) and worked("open for writing");
sysopen($h, $file, 01001) and worked("truncate by open");
truncate($file, 1) and worked("truncate");
chmod(0600, $file) and worked("chmod file");
chmod(0700, $home) and worked("chmod home");
utime(1, 1, $file) and worked("utime");
rename($file, "$file.moved") and worked("rename");
link($file, "$open/linked") and worked("link");
unlink($file) and worked("unlink");
unlink("$file.moved") and worked("unlink what was moved");
my ($name, $value) = ("user.x", "y");
syscall(188, $file, $name, $value, 1, 0) == 0 and worked("setxattr");

# Network: new sockets, and the inherited ones.
for my $row (["inet", PF_INET, SOCK_STREAM], ["udp", PF_INET, SOCK_DGRAM], ["inet6", PF_INET6, SOCK_STREAM],
    ["unix", PF_UNIX, SOCK_STREAM], ["netlink", 16, SOCK_RAW], ["packet", 17, SOCK_RAW], ["vsock", 40, SOCK_STREAM]) {
    worked("socket", $row->[0]) if socket(my $s, $row->[1], $row->[2], 0);
}
my $there = pack_sockaddr_in(9, inet_aton("127.0.0.1"));
connect(STDIN, $there) and worked("connect stdin");
listen(STDIN, 1) and worked("listen on stdin");
bind(STDIN, pack_sockaddr_in(0, inet_aton("127.0.0.1"))) and worked("bind stdin");

# Privilege.
$< = 0; $> = 0; ($< == 0 || $> == 0) and $ordinary eq "yes" and worked("setuid");
for my $row (["ptrace", 101, 0, 0, 0, 0], ["mount", 165, "none", "/tmp", "tmpfs", 0, 0], ["unshare user", 272, 0x10000000],
    ["unshare mount", 272, 0x20000], ["keyctl", 250, 0, -3, 0], ["add_key", 248, "user", "a", "b", 1, -3],
    ["io_uring_setup", 425, 1, "\0" x 120], ["userfaultfd", 323, 1], ["memfd_secret", 447, 0],
    ["chroot", 161, "/"], ["pivot_root", 155, "/", "/"], ["open_by_handle_at", 304, -100, "\0" x 64, 0],
    ["quotactl", 179, 0, 0, 0, 0], ["sethostname", 170, "x", 1]) {
    my ($name, $number, @words) = @$row;
    worked($name) if syscall($number, @words) >= 0;
}
# An allowed bpf(2) or perf_event_open(2) fails otherwise than by permission.
for my $row (["bpf", 321, 0, 0, 0], ["perf_event_open", 298, 0, 0, -1, -1, 0], ["kcmp", 312, 1, 1, 0, 0, 0],
    ["process_vm_readv", 310, 1, 0, 0, 0, 0, 0], ["init_module", 175, 0, 0, 0]) {
    my ($name, $number, @words) = @$row;
    worked($name, "($!)") if syscall($number, @words) >= 0 || ($! != 1 && $! != 38 && $! != 13);
}
# The x32 ABI has the same calls under other numbers: getpid. A filter may kill for it, so a child asks.
if (my $child = fork) { waitpid($child, 0); worked("x32") if $? == 0 }
else { exit(syscall(0x40000000 + 39) >= 0 ? 0 : 1) }

open(my $status, "<", "/proc/self/status");
while (<$status>) { print if /^(Uid|Gid|Groups|NoNewPrivs|Seccomp|Cap...):/ }
print "done\n";
# AF_UNSPEC undoes a connection, so that it can be made anew elsewhere. Last, because where it works stdout is gone.
$disconnect and connect(STDOUT, pack("S x14", 0)) and print STDERR "WORKED disconnect stdout\n";
