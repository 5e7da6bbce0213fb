// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
public import Core
internal import Glibc

/// Questions to the person at this process's terminal.
public enum Terminal {
    /// Why there is no answer.
    public enum Failure: Error, Sendable, Hashable {
        /// This process has no terminal.
        case none
        /// The person sent this signal instead.
        case interrupted(Int32)
        /// The terminal was closed, or the answer was too long.
        case noAnswer
        /// A call failed.
        case system(SystemError)
    }

    /// The most bytes of a line.
    public static let lineLimit = 1_023

    /// Whether this process has a terminal to ask on.
    public static var isPresent: Bool {
        (try? File.open("/dev/tty", [.reading])) != nil
    }

    /// Whether an open file is a terminal.
    public static func isTerminal(_ descriptor: Descriptor) -> Bool {
        isatty(descriptor.number) == 1
    }

    /// Asks for a line; empty where the person only pressed return.
    public static func ask(_ prompt: String) throws(Failure) -> ByteText {
        ByteText(try answer(prompt, echo: true).copyOfBytes())
    }

    /// Asks for a secret, which is not shown while it is typed.
    public static func askSecret(_ prompt: String) throws(Failure) -> Secret {
        try answer(prompt, echo: false)
    }

    private static func answer(_ prompt: String, echo: Bool) throws(Failure) -> Secret {
        guard let input = try? File.open("/dev/tty", [.reading]),
            let output = try? File.open("/dev/tty", [.writing])
        else { throw .none }
        do throws(SystemError) {
            // ORDER: signals first: the echo must not stay off because somebody pressed ^C or ^Z.
            let signals = try Signals([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP])
            defer { Signals.reset() }
            var before: UInt32 = 0
            // SAFETY: the shim writes one int.
            if !echo { try check(unsafe portcullis_terminal_hide(input.number, &before), "tcsetattr") }
            defer { if !echo { _ = portcullis_terminal_show(input.number, before) } }
            try output.writeAll(Array(prompt.utf8))
            while true {
                var entries = [Poll.Entry(input), Poll.Entry(signals.descriptor)]
                try Poll.wait(&entries, milliseconds: -1)
                if entries.last?.isReadable == true, let signal = signals.next(), signal != SIGTSTP {
                    throw SystemError(-signal, "interrupted")
                }
                guard entries.first?.isReadable == true || entries.first?.isHangup == true else { continue }
                // A terminal hands over whole lines.
                let line = try Secret()
                guard case .complete = try line.readLine(from: input) else { throw SystemError(0, "no answer") }
                return line
            }
        } catch {
            if error.code < 0 { throw .interrupted(-error.code) }
            throw error.code == 0 ? .noAnswer : .system(error)
        }
    }
}

/// This process's arguments as the bytes that they are.
public enum Arguments {
    /// The arguments after the program's name; Swift's own list would repair bytes that are not UTF-8.
    public static var bytes: [[UInt8]] {
        let count = Int(Swift.CommandLine.argc)
        guard count > 1 else { return [] }
        return (1..<count).map { index in
            // SAFETY: argv has argc entries, NUL-terminated strings that live as long as the process.
            guard let text = unsafe Swift.CommandLine.unsafeArgv[index] else { return [] }
            // SAFETY: as above.
            return unsafe (0..<strlen(text)).map { unsafe UInt8(bitPattern: text[Int($0)]) }
        }
    }

    /// Overwrites, in what ps shows, every occurrence of a secret in the arguments.
    ///
    /// The secret was visible until then: this shortens how long, and no more.
    public static func hide(_ secret: [UInt8]) {
        guard !secret.isEmpty else { return }
        for (index, argument) in bytes.enumerated() where argument.count >= secret.count {
            guard argument.suffix(secret.count).elementsEqual(secret) else { continue }
            // SAFETY: the entry was read above, and only bytes within its length are written.
            guard let text = unsafe Swift.CommandLine.unsafeArgv[index + 1] else { continue }
            for place in (argument.count - secret.count)..<argument.count {
                // SAFETY: as above.
                unsafe text[place] = CChar(bitPattern: UInt8(ascii: "*"))
            }
        }
    }
}
