# SPDX-License-Identifier: Apache-2.0
# Copyright the Portcullis authors
#
# inetd for a test, in a network namespace that is its own: inetd.pl PORT PROGRAM [PORT PROGRAM...]
# brings lo up, listens on 127.0.0.1 and ::1, says "ready", and has each connection served by its program.
use strict;
use warnings;
use Socket qw(:all);

$| = 1;
socket(my $any, AF_INET, SOCK_DGRAM, 0) or die "socket: $!";
# SIOCSIFFLAGS: IFF_UP and IFF_RUNNING.
my $request = pack("a16 s x14", "lo", 0x41);
ioctl($any, 0x8914, $request) or die "lo: $!";
close($any);

my (%program, @listeners);
while (my ($port, $program) = splice(@ARGV, 0, 2)) {
    my @places = (
        [AF_INET, pack_sockaddr_in($port, inet_aton("127.0.0.1"))],
        [AF_INET6, pack_sockaddr_in6($port, inet_pton(AF_INET6, "::1"))],
    );
    for my $place (@places) {
        socket(my $listener, $place->[0], SOCK_STREAM, 0) or die "socket: $!";
        setsockopt($listener, SOL_SOCKET, SO_REUSEADDR, 1);
        setsockopt($listener, IPPROTO_IPV6, IPV6_V6ONLY, 1) if $place->[0] == AF_INET6;
        bind($listener, $place->[1]) or die "bind $port: $!";
        listen($listener, 64) or die "listen: $!";
        push @listeners, $listener;
        $program{fileno($listener)} = $program;
    }
}
$SIG{CHLD} = "IGNORE";
print "ready\n";
while (1) {
    my $wanted = "";
    vec($wanted, fileno($_), 1) = 1 for @listeners;
    next if select(my $found = $wanted, undef, undef, undef) <= 0;
    for my $listener (@listeners) {
        next unless vec($found, fileno($listener), 1);
        accept(my $client, $listener) or next;
        next if fork();
        $SIG{CHLD} = "DEFAULT";
        for my $stream (\*STDIN, \*STDOUT, \*STDERR) { open($stream, "+<&", $client) or exit(1); }
        my $path = $program{fileno($listener)};
        my ($name) = $path =~ m{([^/]+)$};
        exec {$path} $name or exit(1);
    }
}
