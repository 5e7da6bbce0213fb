// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Glibc
import Linux

/// Whether a read of the descriptor waits.
func isBlocking(_ descriptor: Descriptor) throws -> Bool {
    fcntl(descriptor.number, F_GETFL) & O_NONBLOCK == 0
}

/// Sends a byte out of band.
func sendUrgent(_ descriptor: Descriptor, _ byte: UInt8) {
    var byte = byte
    // SAFETY: one byte is read.
    _ = unsafe send(descriptor.number, &byte, 1, Int32(MSG_OOB))
}

/// Whether bytes stand somewhere in the writable memory of a process; root alone can look.
func memory(of process: pid_t, contains bytes: [UInt8]) throws -> Bool {
    // SAFETY: the string is NUL-terminated for the call.
    let maps = unsafe open("/proc/\(process)/maps", O_RDONLY | O_CLOEXEC)
    // SAFETY: as above.
    let memory = unsafe open("/proc/\(process)/mem", O_RDONLY | O_CLOEXEC)
    guard maps >= 0, memory >= 0 else { throw FrontHarness.HarnessError.nothingCame }
    let file = Descriptor(owning: memory)
    let text = String(decoding: try Descriptor(owning: maps).readAll(limit: 1 << 20) ?? [], as: UTF8.self)
    for line in text.split(separator: "\n") where line.contains(" rw") {
        let range = line.prefix { $0 != " " }.split(separator: "-").compactMap { Int($0, radix: 16) }
        guard range.count == 2 else { continue }
        var part = [UInt8](repeating: 0, count: range[1] - range[0])
        // SAFETY: the array has the room that pread is told.
        let got = unsafe pread(file.number, &part, part.count, range[0])
        guard got > 0 else { continue }
        if isPart(bytes, of: part[..<got]) { return true }
    }
    return false
}

private func isPart(_ bytes: [UInt8], of all: ArraySlice<UInt8>) -> Bool {
    // SAFETY: memchr and memcmp stay within the counts, which are those of the arrays.
    unsafe all.withUnsafeBytes { all in
        unsafe bytes.withUnsafeBytes { bytes in
            guard var place = all.baseAddress, let wanted = bytes.baseAddress else { return false }
            let end = unsafe place + all.count
            while unsafe end - place >= bytes.count {
                guard let found = unsafe memchr(place, Int32(bytes[0]), end - place) else { return false }
                guard unsafe end - UnsafeRawPointer(found) >= bytes.count else { return false }
                if unsafe memcmp(found, wanted, bytes.count) == 0 { return true }
                unsafe place = UnsafeRawPointer(found) + 1
            }
            return false
        }
    }
}
