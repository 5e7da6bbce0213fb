// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import RemoteCommand
import Testing

@Suite struct RelayTests {
    private func open(_ path: String, _ options: File.Options) throws -> Descriptor {
        try File.open(path, options)
    }

    @Test func largeDataGoesBothWaysAndTheHalfCloseIsTheEndOfStdin() throws {
        let server = try FakeServer { side in
            for _ in 0..<4 { _ = try side.field() }
            try side.write([0])
            // As cat does: until the end of stdin.
            while true {
                let bytes = try side.read(65_536)
                guard !bytes.isEmpty else { break }
                try side.write(bytes)
            }
            try side.write(Array("end".utf8))
        }
        let directory = try TestDirectory()
        var bytes: [UInt8] = []
        for number in 0..<(1 << 20) {
            bytes += [UInt8(truncatingIfNeeded: number), UInt8(truncatingIfNeeded: number >> 8)]
        }
        let input = try directory.file("input", bytes)
        let output = try directory.file("output", [])
        let errors = try directory.file("errors", [])
        var relay = Relay(
            try request(server.endpoint).open(), input: try open(input, [.reading]),
            output: try open(output, [.writing]), errors: try open(errors, [.writing]), signals: nil)
        guard case .finished = try relay.run() else {
            Issue.record("it did not finish")
            return
        }
        #expect(try open(output, [.reading]).readAll(limit: 1 << 24) == bytes + Array("end".utf8))
    }

    @Test func stderrComesApartAndBothEndsAreAwaited() throws {
        let server = try FakeServer { side in
            let secondary = try side.callBack(try side.field())
            for _ in 0..<3 { _ = try side.field() }
            try side.write([0] + Array("out".utf8))
            Socket.shutdownBoth(side.primary)
            Clock.sleep(milliseconds: 50)
            try side.write(Array("late".utf8), to: secondary)
        }
        let directory = try TestDirectory()
        let output = try directory.file("output", [])
        let errors = try directory.file("errors", [])
        var relay = Relay(
            try request(server.endpoint, wantsErrors: true).open(), input: nil,
            output: try open(output, [.writing]), errors: try open(errors, [.writing]), signals: nil)
        _ = try relay.run()
        #expect(try open(output, [.reading]).readAll(limit: 64) == Array("out".utf8))
        #expect(try open(errors, [.reading]).readAll(limit: 64) == Array("late".utf8))
    }

    @Test func aCommandThatReadsNoMoreStillHasItsOutput() throws {
        let server = try FakeServer { side in
            for _ in 0..<4 { _ = try side.field() }
            try side.write([0] + Array("first".utf8))
            // Closed with unread input: the client's writes fail.
            Socket.shutdownBoth(side.primary)
        }
        let directory = try TestDirectory()
        let input = try directory.file("input", [UInt8](repeating: 7, count: 1 << 22))
        let output = try directory.file("output", [])
        var relay = Relay(
            try request(server.endpoint).open(), input: try open(input, [.reading]),
            output: try open(output, [.writing]), errors: try open(output, [.writing]), signals: nil)
        _ = try relay.run()
        let text = try open(output, [.reading]).readAll(limit: 64)
        #expect(text == Array("first".utf8))
    }
}
