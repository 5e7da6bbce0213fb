// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// hash-cost FILE: what the hash of a credentials file's first line costs as a session computes it, in microseconds of wall
// time: the median of 41, with the password from standard input. The memory is advised to be of huge pages, as in
// portcullisd; perl's crypt, which scripts/bench measures beside it, has what libcrypt maps.

import Core
import Linux
import PasswordHash

guard let path = Swift.CommandLine.arguments.dropFirst().first else { fatalError("usage: hash-cost FILE") }
let password = try Secret()
guard case .complete = try password.readLine(from: StandardStreams.input) else { fatalError("no password") }
let text = try File.open(path, .reading).readAll(limit: 65_536) ?? []
let line = text.split(separator: UInt8(ascii: "\n")).first ?? []
let fields = line.split(separator: UInt8(ascii: ":"), maxSplits: 1)
guard fields.count == 2, let hash = PasswordHash(ByteText(Array(fields[1]))) else { fatalError("no hash in \(path)") }
var times: [Int64] = []
for _ in 0..<41 {
    let begun = ContinuousClock.now
    guard try hash.matches(password) else { fatalError("another password's hash") }
    times.append(Int64((ContinuousClock.now - begun) / .microseconds(1)))
}
print(times.sorted()[20])
