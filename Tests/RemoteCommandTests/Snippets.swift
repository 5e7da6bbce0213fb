// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import RemoteCommand
import Testing
import Trust

// The examples of the library's articles: each function between `snippet` and `end` stands in one of them, word for word.

// snippet
func output(of command: ByteText, on host: ByteText, port: UInt16?, password: Secret) throws -> [UInt8]? {
    let connection = try rexec(host, port: port, user: "backup", password: password, command: command)
    password.erase()
    Socket.shutdownSending(connection.primary)
    try connection.primary.setBlocking(true)
    return try connection.primary.readAll(limit: 1 << 20)
}
// end

// snippet
func run(_ command: ByteText, on host: ByteText, port: UInt16?, password: Secret) throws -> Bool {
    let connection = try rexec(
        host, port: port, user: "backup", password: password, command: command, wantsErrors: true)
    password.erase()
    var relay = Relay(
        connection, input: StandardStreams.input, output: StandardStreams.output, errors: StandardStreams.error,
        signals: try Signals([Signals.Number.interrupt, Signals.Number.terminate]))
    guard case .finished = try relay.run() else { return false }
    return true
}
// end

// snippet
func uptime(of host: ByteText, port: UInt16?) throws -> RemoteConnection? {
    do throws(RemoteCommandError) {
        return try rcmd(host, port: port, localUser: "operator", remoteUser: "operator", command: "uptime")
    } catch {
        switch error {
        case .refused(let text): print("refused: \(text.printable)")
        case .portsInUse: print("all 512 reserved ports are in use; try again in a minute")
        case .portsNotPermitted: print("reserved ports need root, or cap_net_bind_service")
        default: print(error.description)
        }
        return nil
    }
}
// end

// snippet
func impatiently(_ host: ByteText, port: UInt16?) throws -> RemoteConnection {
    var request = RemoteRequest(
        host: host, identity: .rsh(remoteUser: "operator", target: "operator"), command: "uptime", wantsErrors: false)
    request.port = port
    request.pauses = []
    request.timeout = 10_000
    return try request.open()
}
// end

// snippet
func reserved() throws -> (Descriptor, UInt16) {
    var port: UInt16 = 1_023
    let socket = try rresvport(&port, family: .v6)
    return (socket, port)
}
// end

// snippet
func mayActAsBackup(_ client: Descriptor, remoteUser: ByteText) throws -> Bool {
    let peer = try Socket.peer(client)
    guard ReservedPort.range.contains(peer.port) else { return false }
    let verdict = iruserok(
        peer.address, scope: peer.scope, superuser: false, remoteUser: remoteUser, localUser: "backup")
    if !verdict.isTrusted { print("not trusted: \(verdict.detail)") }
    return verdict.isTrusted
}
// end

@Suite struct SnippetTests {
    private static func text(_ path: String) throws -> String {
        String(decoding: try #require(try File.open(path, [.reading]).readAll(limit: 1 << 20)), as: UTF8.self)
    }

    /// What stands between two lines, each time.
    private static func blocks(_ text: String, from start: String, to end: String) -> Set<String> {
        var blocks: Set<String> = []
        var block: [Substring]?
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if let lines = block, line == end {
                blocks.insert(lines.joined(separator: "\n"))
                block = nil
            } else if block != nil {
                block?.append(line)
            } else if line == start {
                block = []
            }
        }
        return blocks
    }

    @Test func theArticlesExamplesAreTheOnesThatAreCompiledHere() throws {
        let here = Self.blocks(try Self.text(#filePath), from: "// snippet", to: "// end")
        let package = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let catalogue = "/\(package)/Sources/Client/RemoteCommand/RemoteCommand.docc"
        var there: Set<String> = []
        for name in try Directory.names(catalogue) {
            there.formUnion(
                Self.blocks(try Self.text("\(catalogue)/\(name)"), from: "```swift", to: "```"))
        }
        #expect(here.count == 6)
        #expect(there == here)
    }

    private func password() throws -> Secret {
        let password = try Secret()
        #expect(password.append(Array("canary".utf8)))
        return password
    }

    @Test func theFirstExampleHasTheOutput() throws {
        let server = try FakeServer { side in
            for text in ["", "backup", "canary", "listcat"] as [ByteText] { try side.expect(text) }
            try side.write([0])
            guard try side.read(1).isEmpty else { throw ServerSide.Unexpected() }
            try side.write(Array("catalogued".utf8))
        }
        let host = ByteText(server.endpoint.address.description)
        let bytes = try output(of: "listcat", on: host, port: server.endpoint.port, password: password())
        #expect(bytes == Array("catalogued".utf8))
    }

    @Test(.enabled(if: ReservedPort.isPermitted, "needs the right to bind reserved ports"))
    func theExamplesOfRcmdConnectAndAreRefused() throws {
        let answers: [[UInt8]] = [[0], [1, 0x6E, 0x6F, 0x0A]]
        for answer in answers {
            let server = try FakeServer { side in
                for _ in 0..<4 { _ = try side.field() }
                try side.write(answer)
            }
            let host = ByteText(server.endpoint.address.description)
            #expect(try (uptime(of: host, port: server.endpoint.port) != nil) == (answer == [0]))
        }
    }

    @Test(.enabled(if: ReservedPort.isPermitted, "needs the right to bind reserved ports"))
    func theExampleOfRresvportHasAPort() throws {
        #expect(ReservedPort.range.contains(try reserved().1))
    }

    @Test func theExampleOfIruserokTrustsNobodyFromAnotherPort() throws {
        let server = try FakeServer { side in
            for _ in 0..<4 { _ = try side.field() }
            try side.write([0])
            guard try !mayActAsBackup(side.primary, remoteUser: "backup") else { throw ServerSide.Unexpected() }
        }
        _ = try request(server.endpoint).open()
        #expect(try server.finish())
    }
}
