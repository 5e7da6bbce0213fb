// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Linux
import RemoteCommand

/// `rsh`: runs a command by RSH.
struct Rsh: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rsh",
        abstract: "Run a command on another host by RSH (514/tcp).",
        usage: "rsh [-l USER] [-n] [-P PORT] [-4|-6] HOST COMMAND…",
        discussion: """
            Options may also stand after HOST; what follows the command's first word is the command's. There is no \
            password: the server believes this host's word for who you are, and nothing is encrypted.

            Signals are passed on to the command. The exit status is 0, or 1 where the server refused or was not \
            reached; the command's own is not carried by the protocol.

            Example: rsh -l backup build.example.org uptime
            """)

    @Option(name: .customShort("l"), help: "The account there; yours where it is missing.")
    var user: String?

    @Flag(name: .customShort("n"), help: "Read stdin from /dev/null.")
    var noInput = false

    @Option(name: .customShort("P"), help: "The server's port, instead of 514.")
    var port: UInt16?

    @Flag(name: .customShort("4"), help: "IPv4 only.")
    var v4 = false

    @Flag(name: .customShort("6"), help: "IPv6 only.")
    var v6 = false

    @Argument(help: "The host.")
    var host: String

    @Argument(help: "The command and its arguments.")
    var command: [String]

    func validate() throws {
        if v4, v6 { throw ValidationError("-4 and -6 exclude each other") }
        if port == 0 { throw ValidationError("there is no port 0") }
    }
}

let program = ClientProgram("rsh")
do {
    try StandardStreams.fill()
} catch {
    Process.exitNow(1)
}
let taken = ClientArguments(Arguments.bytes, valued: Set("lP".utf8))
let parsed = Rsh.parseOrExit(taken.forParser)

guard let here = program.localUser else {
    program.say("uid \(Process.userID) has no name")
    Process.exitNow(1)
}
var request = RemoteRequest(
    host: taken.host ?? "", identity: .rsh(remoteUser: here, target: taken.values[UInt8(ascii: "l")] ?? here),
    command: taken.commandLine, wantsErrors: true)
request.port = parsed.port
request.family = parsed.v4 ? .v4 : parsed.v6 ? .v6 : nil
// A person is there to try again.
request.pauses = []
request.whenBound = ClientProgram.dropLentRights

// A server with `source-port any` takes callers without the right to reserved ports; any other one refuses them.
let isPermitted = ReservedPort.isPermitted
if !isPermitted { request.ports = .any }
Process.exitNow(
    program.run(
        request, input: parsed.noInput ? nil : StandardStreams.input,
        hint: isPermitted ? nil : "this was not called from a reserved port, which needs root or cap_net_bind_service"))
