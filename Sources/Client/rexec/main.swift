// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Linux
import RemoteCommand

/// `rexec`: runs a command by REXEC.
struct Rexec: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rexec",
        abstract: "Run a command on another host by REXEC (512/tcp).",
        usage: "rexec [-l USER] [-p PASSWORD] [-n] [-a] [-P PORT] [-4|-6] HOST COMMAND…",
        discussion: """
            Options may also stand after HOST; what follows the command's first word is the command's. The password \
            goes over the network in clear text.

            User and password come from the options, else from .netrc (or the file that NETRC names; it must be \
            yours, mode 0600), else they are asked for. Signals are passed on to the command. The exit status is 0, \
            or 1 where the server refused or was not reached; the command's own is not carried by the protocol.

            Example: rexec -l backup mvs.example.org 'listcat'
            """)

    @Option(name: .customShort("l"), help: "The account there.")
    var user: String?

    @Option(
        name: .customShort("p"), parsing: .unconditional,
        help: "Its password, which others on this host may see; - reads a line of stdin.")
    var password: String?

    @Flag(name: .customShort("n"), help: "Do not read .netrc.")
    var noNetrc = false

    @Flag(name: .customShort("a"), help: "No connection of its own for stderr, and so no signals.")
    var noErrors = false

    @Option(name: .customShort("P"), help: "The server's port, instead of 512.")
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

let program = ClientProgram("rexec")
do {
    try StandardStreams.fill()
    // The password is in this process's memory: no core file, and no debugger of the same user's.
    try Process.becomeUndumpable()
} catch {
    Process.exitNow(1)
}
var taken = ClientArguments(Arguments.bytes, valued: Set("lpP".utf8), secret: Set("p".utf8))
taken.hideSecrets()
let parsed = Rexec.parseOrExit(taken.forParser)
let host = taken.host ?? ""

do {
    let login = try RexecLogin(
        program: program, host: host, user: taken.values[UInt8(ascii: "l")],
        password: taken.values[UInt8(ascii: "p")], readsNetrc: !parsed.noNetrc)
    var request = RemoteRequest(
        host: host, identity: .rexec(user: login.user, password: login.password), command: taken.commandLine,
        wantsErrors: !parsed.noErrors)
    request.port = parsed.port
    request.family = parsed.v4 ? .v4 : parsed.v6 ? .v6 : nil
    // A person is there to try again.
    request.pauses = []
    let status = program.run(request, input: StandardStreams.input)
    login.password.erase()
    Process.exitNow(status)
} catch let failure as RexecLogin.Failure {
    if let text = failure.text { program.say(text) }
    Process.exitNow(failure.status)
} catch {
    program.say("\(error)")
    Process.exitNow(1)
}
