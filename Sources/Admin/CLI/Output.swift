// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Audit
import Core
import Linux

/// What goes to standard output: in large pieces, with colour only on a terminal.
struct Output {
    /// A meaning that has a colour.
    enum Tone: String {
        case good = "32"
        case bad = "31"
        case doubtful = "33"
        case faint = "2"
        case strong = "1"
    }

    private static let pieceSize = 65_536

    private var bytes: [UInt8] = []
    /// Whether standard output is a terminal that takes colours.
    let hasColour: Bool
    /// The columns of standard output; nil where it is no terminal.
    let width: Int?

    init() {
        hasColour = Self.hasColour(on: StandardStreams.output)
        width = Terminal.columns(StandardStreams.output)
    }

    /// Whether the locale's text is UTF-8, so that characters of our own beyond ASCII are understood.
    static var takesUnicode: Bool {
        let names = ["LC_ALL", "LC_CTYPE", "LANG"]
        let locale = names.lazy.compactMap { Linux.Process.environmentVariable($0) }.first { !$0.isEmpty } ?? ""
        let name = locale.lowercased()
        return name.contains("utf-8") || name.contains("utf8")
    }

    /// Whether a stream is a terminal that takes colours.
    static func hasColour(on stream: Descriptor) -> Bool {
        // https://no-color.org: any value but an empty one.
        let refusal = Linux.Process.environmentVariable("NO_COLOR") ?? ""
        return Terminal.isTerminal(stream) && refusal.isEmpty && Linux.Process.environmentVariable("TERM") != "dumb"
    }

    /// The text in a tone's colour, where there are colours.
    func coloured(_ text: String, _ tone: Tone?) -> String {
        guard hasColour, let tone else { return text }
        return "\u{1B}[\(tone.rawValue)m\(text)\u{1B}[0m"
    }

    /// Prints a line.
    mutating func line(_ text: String) throws {
        bytes.append(contentsOf: text.utf8)
        bytes.append(UInt8(ascii: "\n"))
        if bytes.count >= Self.pieceSize { try flush() }
    }

    /// Writes what is left.
    mutating func flush() throws {
        let piece = bytes
        bytes.removeAll(keepingCapacity: true)
        do throws(SystemError) {
            try StandardStreams.output.writeAll(piece)
        } catch {
            throw ExitCode(1)
        }
    }

    /// Prints lines and writes them.
    static func say(_ lines: String...) throws {
        var output = Output()
        for line in lines { try output.line(line) }
        try output.flush()
    }
}

/// A failure that is told on standard error and ends the program.
struct Failure: Error, CustomStringConvertible {
    /// What is wrong, where, and what to do.
    var description: String
    /// The exit status.
    var status: Int32 = 1
}

/// Says something on standard error.
func complain(_ text: String) {
    StandardError("portcullis").say(text)
}

/// Runs a verb's work: a failure is told on standard error, and ends the program with its status.
func reporting(_ work: () throws -> Void) throws {
    do {
        try work()
    } catch let failure as Failure {
        complain(failure.description)
        throw ExitCode(failure.status)
    } catch let error as SystemError {
        complain(error.description)
        throw ExitCode(1)
    } catch  where error is ExitCode || error is ValidationError || error is CleanExit {
        throw error
    } catch {
        complain("a defect of ours: \(error)")
        throw ExitCode(70)
    }
}

/// Numbers and times as people read them.
enum Shown {
    /// With a comma after each group of three digits: 164,903.
    static func number(_ value: some BinaryInteger) -> String {
        let digits = Array(String(value))
        var text = ""
        for (index, digit) in digits.enumerated() {
            let left = digits.count - index
            if index > 0, left % 3 == 0, digits[index - 1] != "-" { text.append(",") }
            text.append(digit)
        }
        return text
    }

    /// A count with its noun: `1 record`, `2 records`.
    static func count(_ value: some BinaryInteger, _ noun: String) -> String {
        "\(number(value)) \(noun)\(value == 1 ? "" : "s")"
    }

    /// A refused command; of one that was cut, what there is and how long it was.
    static func command(_ command: Record.RefusedCommand) -> String {
        command.text.printable + (command.isWhole ? "" : "… (\(number(command.length)) bytes)")
    }

    /// Local date and time.
    static func localTime(seconds: Int64) -> String {
        Clock.localText(seconds: seconds, format: "%Y-%m-%d %H:%M:%S")
    }

    /// UTC in ISO 8601 with milliseconds.
    static func universalTime(milliseconds: UInt64) -> String {
        // The civil calendar from a count of days, exact for every UInt64 of milliseconds.
        let seconds = milliseconds / 1_000
        let days = seconds / 86_400 + 719_468
        let era = days / 146_097
        let dayOfEra = days % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shifted + 2) / 5 + 1
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))T\(padded(seconds / 3_600 % 24, 2))"
            + ":\(padded(seconds / 60 % 60, 2)):\(padded(seconds % 60, 2)).\(padded(milliseconds % 1_000, 3))Z"
    }

    private static func padded(_ value: UInt64, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }

    /// A size: `512 bytes`, `3 KiB`, `1 MiB`, rounded up.
    static func size(_ bytes: UInt64) -> String {
        for (unit, shift) in [("GiB", UInt64(30)), ("MiB", 20), ("KiB", 10)] where bytes >= 1 << shift {
            return "\(number((bytes - 1) >> shift + 1)) \(unit)"
        }
        return count(bytes, "byte")
    }

    /// A duration: `12 ms`, `3.4 s`, `2 min 5 s`, `1 h 2 min`.
    static func duration(milliseconds: UInt64) -> String {
        let seconds = milliseconds / 1_000
        switch seconds {
        case 0: return "\(milliseconds) ms"
        case 1..<60: return "\(seconds).\(milliseconds % 1_000 / 100) s"
        case 60..<3_600: return "\(seconds / 60) min \(seconds % 60) s"
        default: return "\(number(seconds / 3_600)) h \(seconds / 60 % 60) min"
        }
    }

    /// A stretch of time: as a duration, and with days where it is two or more: `19 d 10 h`.
    static func span(milliseconds: UInt64) -> String {
        let hours = milliseconds / 3_600_000
        return hours < 48 ? duration(milliseconds: milliseconds) : "\(number(hours / 24)) d \(hours % 24) h"
    }

    /// The most characters of a name in a column.
    private static let nameLimit = 64

    /// A name in a table: as it is printed everywhere, and without blanks, so that it cannot pass for two columns.
    static func name(_ name: ByteText) -> String {
        let text = name.printable.replacing(" ", with: "\\x20")
        return text.utf8.count > nameLimit ? text.prefix(nameLimit - 1) + "…" : text
    }

    /// A place, safe for a terminal: a file's name may hold anything.
    static func place(_ place: FilePlace) -> String {
        ByteText(place.description).printable
    }

    /// A rule with its place, safe for a terminal: `nightly-dump (portcullis.policy:48)`.
    static func rule(_ rule: RuleReference) -> String {
        "\(ByteText(rule.name).printable) (\(place(rule.place)))"
    }

    /// `sha256:` with the first four and last two digits.
    static func short(_ revision: Revision) -> String {
        let digits = Hexadecimal.lower(revision.bytes)
        return "sha256:\(digits.prefix(4))…\(digits.suffix(2))"
    }

    /// Text filled up with blanks to a width.
    static func column(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
