// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Glibc
import Linux
import Testing

@testable import Session

/// The places of guests: one session an account, however the other one ended.
@Suite struct GuestPlacesTests {
    private func with(_ body: (String) throws -> Void) throws {
        let path = "/tmp/portcullis-test-\(Linux.Process.id)-\(UInt32.random(in: .min ... .max))"
        try File.makeDirectory(path, mode: 0o755)
        defer { Directory.removeTree(path) }
        try body(path)
    }

    @Test func aPlaceIsOnesUntilItIsLetGo() throws {
        try with { path in
            let places = try GuestPlaces(runtimeDirectory: path)
            do {
                let first = try #require(try places.take(4_100))
                defer { withExtendedLifetime(first) {} }
                #expect(try places.take(4_100) == nil)
                // By whoever asks, and from wherever it was opened.
                #expect(try GuestPlaces(runtimeDirectory: path).take(4_100) == nil)
                #expect(try places.take(4_101) != nil)
            }
            #expect(try places.take(4_100) != nil)
            #expect(try File.status(path + "/guests").mode & 0o777 == 0o700)
            #expect(try File.status(path + "/guests/4100").mode & 0o777 == 0o600)
        }
    }

    @Test func aDirectoryThatOthersCanReachIsNotUsed() throws {
        try with { path in
            try File.makeDirectory(path + "/guests", mode: 0o700)
            try File.setMode(path + "/guests", 0o711)
            #expect(throws: SessionError.self) { _ = try GuestPlaces(runtimeDirectory: path) }
        }
    }

    private func link(_ path: String, to target: String) {
        // SAFETY: both are strings of ours, passed for the call alone.
        #expect(unsafe symlink(target, path) == 0)
    }

    @Test func aLinkIsNoPlaceAndNoDirectoryOfPlaces() throws {
        try with { path in
            try File.makeDirectory(path + "/elsewhere", mode: 0o700)
            let places = try GuestPlaces(runtimeDirectory: path)
            link(path + "/guests/4100", to: "../elsewhere/4100")
            #expect(throws: SystemError.self) { _ = try places.take(4_100) }
            #expect(try Directory.names(path + "/elsewhere").isEmpty)
            Directory.removeTree(path + "/guests")
            link(path + "/guests", to: "elsewhere")
            #expect(throws: SystemError.self) { _ = try GuestPlaces(runtimeDirectory: path) }
        }
    }
}
