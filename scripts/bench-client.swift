// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// The client of `make bench`, the same for every server: it knows the bytes of rsh and rexec and a clock.
//
//     bench-client rsh|rexec ADDRESS PORT USER PASSWORD-OR-REMOTE-USER COMMAND COUNT CLIENTS
//
// It makes COUNT requests, CLIENTS at a time, each measured from connect to the end of the output, and prints
// `median-µs p95-µs requests-per-second bytes failed`.

import Glibc

let words = CommandLine.arguments
guard words.count == 9, let port = UInt16(words[3]), let count = Int(words[7]), let clients = Int(words[8]) else {
    print("usage: bench-client rsh|rexec ADDRESS PORT USER PASSWORD-OR-REMOTE-USER COMMAND COUNT CLIENTS")
    exit(64)
}
let isRSH = words[1] == "rsh"
let names = isRSH ? [words[5], words[4], words[6]] : [words[4], words[5], words[6]]
let handshake: [UInt8] = [0] + names.flatMap { Array($0.utf8) + [0] }

func now() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

func address(_ text: String, _ port: UInt16) -> sockaddr_in {
    var made = sockaddr_in()
    made.sin_family = sa_family_t(AF_INET)
    made.sin_port = port.bigEndian
    inet_pton(AF_INET, text, &made.sin_addr)
    return made
}

func call(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32, _ address: sockaddr_in) -> Int32 {
    var address = address
    return withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
}

/// A connected socket; for rsh from a reserved port.
func connected() -> Int32? {
    for _ in 0..<400 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var one: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, 4)
        if isRSH {
            let own = address("127.0.0.1", UInt16.random(in: 600...1023))
            guard call({ bind(descriptor, $0, $1) }, own) == 0 else {
                close(descriptor)
                continue
            }
        }
        if call({ connect(descriptor, $0, $1) }, address(words[2], port)) == 0 { return descriptor }
        let failure = errno
        close(descriptor)
        guard failure == EADDRNOTAVAIL || failure == EADDRINUSE else { return nil }
    }
    return nil
}

var buffer = [UInt8](repeating: 0, count: 1 << 20)

/// One request: its microseconds and bytes; nil where it was not accepted.
func request() -> (time: Int, bytes: Int)? {
    let start = now()
    guard let descriptor = connected() else { return nil }
    defer { close(descriptor) }
    guard write(descriptor, handshake, handshake.count) == handshake.count else { return nil }
    var bytes = 0
    var isAccepted = false
    while true {
        let got = read(descriptor, &buffer, buffer.count)
        guard got > 0 else { break }
        if bytes == 0 { isAccepted = buffer[0] == 0 }
        bytes += got
    }
    return isAccepted ? (now() - start, bytes) : nil
}

signal(SIGPIPE, SIG_IGN)
var ends: [Int32] = [0, 0]
pipe(&ends)
let start = now()
for number in 0..<clients where fork() == 0 {
    var row: [Int64] = [0, 0, 0]
    for _ in stride(from: number, to: count, by: clients) {
        let one = request()
        row = [Int64(one?.time ?? -1), Int64(one?.bytes ?? 0), 0]
        _ = write(ends[1], row, 24)
    }
    _exit(0)
}
close(ends[1])
var times: [Int] = []
var bytes = 0
var failed = 0
var row: [Int64] = [0, 0, 0]
while read(ends[0], &row, 24) == 24 {
    if row[0] < 0 { failed += 1 } else { times.append(Int(row[0])) }
    bytes += Int(row[1])
}
let total = max(1, now() - start)
while wait(nil) > 0 {}
times.sort()
let median = times.isEmpty ? 0 : times[times.count / 2]
let late = times.isEmpty ? 0 : times[times.count * 95 / 100]
print(median, late, times.count * 1_000_000 / total, bytes, failed)
