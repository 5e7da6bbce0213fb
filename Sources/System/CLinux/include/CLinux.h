// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// What Swift cannot say of Linux: macros, variable-length control messages, raw system calls. Functions return 0 or a
// positive errno, and never a side channel.
#pragma once

#include "CLinuxObserve.h"
#include "CLinuxResolver.h"
#include "CLinuxSandbox.h"
#include "CLinuxTerminal.h"

#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
// Not in Swift's Glibc module.
#include <shadow.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/types.h>

/// Sends one message with descriptors. In C because control messages are built with the CMSG macros.
int portcullis_message_send(int socket, const void *_Nullable bytes, size_t count, const int *_Nullable descriptors,
                            size_t descriptor_count, int flags);

/// Receives one message and at most `capacity` descriptors, close-on-exec. In C because of the CMSG macros. A message
/// or a set of descriptors that did not fit is EMSGSIZE, and every descriptor that came is closed then.
int portcullis_message_receive(int socket, void *_Nonnull bytes, size_t size, size_t *_Nonnull count,
                               int *_Nonnull descriptors, size_t capacity, size_t *_Nonnull descriptor_count,
                               int flags);

/// What the kernel counts on a TCP connection.
struct portcullis_tcp_counts {
    uint8_t state;
    uint64_t bytes_sent;
    uint64_t bytes_retransmitted;
    uint64_t bytes_acknowledged;
    uint64_t bytes_received;
    uint32_t bytes_unsent;
    uint32_t segments_unacknowledged;
};

/// Reads TCP_INFO. In C because glibc's struct tcp_info ends before the fields that Linux has since added.
int portcullis_tcp_counts_read(int socket, struct portcullis_tcp_counts *_Nonnull counts);

/// Opens a pidfd. In C because it is a raw system call.
int portcullis_pidfd_open(pid_t pid, int *_Nonnull descriptor);

/// Sends a signal through a pidfd. In C because it is a raw system call.
int portcullis_pidfd_signal(int pidfd, int signal);

/// Waits for a process through its pidfd; *code is CLD_EXITED and so on, 0 when nothing has happened yet. With
/// `leave` the process stays to be waited for. In C because siginfo_t's fields are macros.
int portcullis_pidfd_wait(int pidfd, int leave, int *_Nonnull code, int *_Nonnull status);

/// Waits for any child without blocking; *pid is 0 when there is none. In C because siginfo_t's fields are macros.
int portcullis_child_wait(pid_t *_Nonnull pid, int *_Nonnull code, int *_Nonnull status, int leave, int block);

/// Replaces what ps shows as this process's arguments. In C because the room is what the kernel laid out for argv and
/// envp, which only a constructor sees.
void portcullis_title_set(const char *_Nonnull title);

/// close_range(2) from `first` to `last`. In C because it is a raw system call.
int portcullis_range_close(unsigned first, unsigned last);

/// prctl(2) with one argument. In C because prctl is variadic.
int portcullis_process_control(int operation, unsigned long argument);

/// Reads the ids of the peer of a Unix socket. In C because struct ucred needs _GNU_SOURCE.
int portcullis_peer_credentials(int socket, pid_t *_Nonnull pid, uid_t *_Nonnull uid);

/// open(2) and openat(2) with a mode. In C because both are variadic. The descriptor is close-on-exec.
int portcullis_file_open(int directory, const char *_Nonnull path, int flags, mode_t mode, int *_Nonnull descriptor);

/// Clears or sets O_NONBLOCK. In C because fcntl is variadic.
int portcullis_descriptor_set_blocking(int descriptor, int blocking);

/// The name of an entry that readdir has returned, ended by NUL; in C because Swift would copy all of the array that is
/// declared, and an entry has only as much of it as its name takes.
const char *_Nonnull portcullis_entry_name(const struct dirent *_Nonnull entry);

/// Makes a descriptor close-on-exec; EBADF where it is not open. In C because fcntl is variadic.
int portcullis_descriptor_keep_from_programs(int descriptor);

/// Duplicates a descriptor to the lowest free number from `least`, close-on-exec. In C because fcntl is variadic.
int portcullis_descriptor_duplicate(int descriptor, int least, int *_Nonnull duplicate);

/// A pipe, close-on-exec. In C because pipe2 needs _GNU_SOURCE, which Swift's importer does not define.
int portcullis_pipe_make(int ends[_Nonnull 2]);

/// An address as our sockets take and give it: four or sixteen bytes, in network order.
struct portcullis_endpoint {
    int is_v6;
    uint8_t address[16];
    uint16_t port;
    uint32_t scope;
};

/// getpeername(2), getsockname(2). In C because a sockaddr is cast from family to family.
int portcullis_socket_peer(int socket, struct portcullis_endpoint *_Nonnull endpoint);
int portcullis_socket_local(int socket, struct portcullis_endpoint *_Nonnull endpoint);

/// A TCP socket that listens, close-on-exec and non-blocking; IPv6 ones take no IPv4. In C because of the casts.
int portcullis_socket_listen(const struct portcullis_endpoint *_Nonnull endpoint, int backlog, int *_Nonnull made);

/// A TCP socket bound to an address with SO_REUSEADDR, close-on-exec and non-blocking. In C because of the casts.
int portcullis_socket_bind(const struct portcullis_endpoint *_Nonnull endpoint, int reuse, int *_Nonnull made);

/// A TCP socket of a family, not bound, close-on-exec and non-blocking. In C because of the type's flags.
int portcullis_socket_open(int is_v6, int *_Nonnull made);

/// connect(2). In C because of the casts.
int portcullis_socket_connect(int socket, const struct portcullis_endpoint *_Nonnull endpoint);

/// recvfrom(2) without waiting, and the netlink port of who sent it: 0 is the kernel's; of another family's socket it is 0
/// too. The bytes received, or minus errno. In C because sockaddr_nl is the kernel's header's.
ssize_t portcullis_netlink_receive(int descriptor, void *_Nullable bytes, size_t limit, uint32_t *_Nonnull port);

/// accept4(2), close-on-exec and non-blocking. In C because it needs _GNU_SOURCE.
int portcullis_socket_accept(int listener, int *_Nonnull made);

/// The pending error of a socket, 0 for none, negative errno where it cannot be read. In C because of the macros.
int portcullis_socket_error(int socket);

/// Sets an integer option. In C because of the macros.
int portcullis_socket_set(int socket, int level, int option, int value);

/// Reads an integer option. In C because of the macros.
int portcullis_socket_get(int socket, int level, int option, int *_Nonnull value);

/// Sets or clears SO_LINGER. In C because of the macros.
int portcullis_socket_linger(int socket, int on, int seconds);

/// A listening SEQPACKET socket at a path. In C because of the casts.
int portcullis_local_listen(const char *_Nonnull path, int *_Nonnull made);

/// A SEQPACKET socket connected to a path. In C because of the casts.
int portcullis_local_connect(const char *_Nonnull path, int *_Nonnull made);

/// A non-blocking datagram socket connected to a path. In C because of the casts.
int portcullis_local_connect_datagram(const char *_Nonnull path, int *_Nonnull made);

/// Sends a datagram to a path or, with a leading '@', to an abstract name (sd_notify). In C because of the casts.
int portcullis_local_notify(const char *_Nonnull path, const char *_Nonnull text);

/// A signalfd for the signals of a bit mask (bit n-1 for signal n), which are blocked in the calling thread; `added` has
/// those that were not before. In C because sigset_t is opaque.
int portcullis_signals_open(uint64_t mask, uint64_t *_Nonnull added, int *_Nonnull descriptor);

/// The calling thread's id, another one in each process. In C because gettid(2) is declared for GNU sources alone.
int portcullis_thread_id(void);

/// Unblocks the signals of a bit mask in the calling thread.
void portcullis_signals_unblock(uint64_t mask);

/// Whether a signal's disposition is SIG_IGN. In C because sigaction's handler is a union.
int portcullis_signal_is_ignored(int signal);

/// Reads one signal from a signalfd; 0 for none. In C because of the structure's size.
int portcullis_signals_read(int descriptor);

/// Unblocks every signal and gives each its default action. In C because sigset_t and the handlers are macros.
void portcullis_signals_reset(void);

/// Ignores a signal. In C because SIG_IGN is a macro.
void portcullis_signal_ignore(int signal);
