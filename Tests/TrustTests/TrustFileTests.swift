// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import TestSupport
import Testing
import Trust

@Suite struct TrustFileTests {
    @Test(arguments: [
        ("", 0), ("\n", 0), ("# a comment\n", 0), ("   \n\t\n", 0), ("   # an indented comment\n", 0),
        ("10.0.0.1\n", 1), ("10.0.0.1 alice\n", 1), ("10.0.0.1\talice\r\n", 1), ("10.0.0.1 alice", 1),
        ("10.0.0.1 alice  # the build host\n", 1), ("10.0.0.1 # C++ builds\n", 1), ("-10.0.0.1\n", 1),
        ("10.0.0.1 -mallory\n10.0.0.1\n", 2), ("2001:db8::1 alice\n::1\n", 2), ("fe80::1%eth0 alice\n", 1),
        ("fe80::1%2\n", 1), ("10.0.0.1 alice\r\n\r\n10.0.0.2\r", 2),
    ])
    func aLineOfTheGrammarIsRead(text: String, entries: Int) throws {
        #expect(try TrustFile(Array(text.utf8), names: .refuse).entries.count == entries)
    }

    @Test(arguments: [
        ("+\n", 1, TrustFileError.Problem.wildcard), ("+ +\n", 1, .wildcard), ("10.0.0.1 +\n", 1, .wildcard),
        ("10.0.0.1\n10.0.0.2 a+b\n", 2, .wildcard), ("+host\n", 1, .wildcard), ("10.0.0.1 -+\n", 1, .wildcard),
        ("10.0.0.1 +alice\n", 1, .wildcard),
        ("+@ng\n", 1, .netgroup), ("-@ng\n", 1, .netgroup), ("10.0.0.1 +@ng\n", 1, .netgroup),
        ("10.0.0.1 -@ng\n", 1, .netgroup), ("@ng\n", 1, .netgroup), ("+@NetGroup\n", 1, .netgroup),
        ("012.0.0.1\n", 1, .addressForm), ("10.1\n", 1, .addressForm), ("0x0a000001\n", 1, .addressForm),
        ("167772161\n", 1, .addressForm), ("010.000.000.001\n", 1, .addressForm), ("10.0.0.256\n", 1, .addressForm),
        ("10.0.0.1.\n", 1, .addressForm), ("::ffff:10.0.0.1\n", 1, .addressForm),
        ("::ffff:a00:1\n", 1, .addressForm), ("2001:DB8::1\n", 1, .addressForm),
        ("2001:db8:0:0:0:0:0:1\n", 1, .addressForm), ("2001:db8::0001\n", 1, .addressForm),
        ("1.2.3.0x4\n", 1, .addressForm), ("10.0.0.1/8\n", 1, .notAHost),
        ("fe80::1\n", 1, .linkLocalWithoutScope), ("-fe80::1\n", 1, .linkLocalWithoutScope),
        ("2001:db8::1%eth0\n", 1, .scope), ("10.0.0.1%eth0\n", 1, .scope), ("fe80::1%\n", 1, .scope),
        ("fe80::1%et/h0\n", 1, .scope), ("fe80::1%eth0%eth1\n", 1, .scope),
        (" 10.0.0.1\n", 1, .leadingBlank), ("10.0.0.1\n\t10.0.0.2\n", 2, .leadingBlank),
        ("10.0.0.1 alice bob\n", 1, .tooManyFields), ("-\n", 1, .bareMinus), ("10.0.0.1 -\n", 1, .bareMinus),
        ("--10.0.0.1\n", 1, .addressForm), ("--build\n", 1, .notAHost), ("10.0.0.1#x\n", 1, .commentInField),
        ("10.0.0.1 a#x\n", 1, .commentInField),
        ("10.0.0.1 a\u{0}b\n", 1, .controlByte), ("10.0.0.1\u{0}\n", 1, .controlByte),
        ("# \u{1B}[2J\n", 1, .controlByte), ("10.0.0.1\ralice\n", 1, .controlByte),
        ("10.0.0.1 alice\r\r\n", 1, .controlByte), ("10.0.0.1\u{7F}\n", 1, .controlByte),
        ("10.0.0.1\u{B}alice\n", 1, .controlByte),
        ("build.example.org\n", 1, .nameRefused), ("10.0.0.1\nbuild alice\n", 2, .nameRefused),
        ("NO_PLUS\n", 1, .nameRefused), ("b\u{FC}ild\n", 1, .notAHost), ("a..b\n", 1, .notAHost),
    ])
    func oneLineThatIsNeverHonouredRejectsTheFile(text: String, line: Int, problem: TrustFileError.Problem) {
        let error = #expect(throws: TrustFileError.self) { try TrustFile(Array(text.utf8), names: .refuse) }
        #expect(error?.line == line)
        #expect(error?.problem == problem)
    }

    @Test func aLineMayHave1024BytesAndNotOneMore() {
        let line = "10.0.0.1 " + String(repeating: "a", count: TrustFile.lineLimit - 9)
        #expect(throws: Never.self) { try TrustFile(Array((line + "\r\n").utf8), names: .refuse) }
        let error = #expect(throws: TrustFileError.self) { try TrustFile(Array((line + "a").utf8), names: .refuse) }
        #expect(error?.problem == .lineTooLong)
        let comment = "#" + String(repeating: "x", count: TrustFile.lineLimit)
        #expect(throws: TrustFileError.self) { try TrustFile(Array(comment.utf8), names: .refuse) }
    }

    @Test func aFileMayHave64KiBAndNotOneMore() {
        let line = Array("10.0.0.1 alice\n\n".utf8)
        let whole = (0..<TrustFile.sizeLimit / line.count).flatMap { _ in line }
        #expect(whole.count == TrustFile.sizeLimit)
        #expect(throws: Never.self) { try TrustFile(whole, names: .refuse) }
        let error = #expect(throws: TrustFileError.self) { try TrustFile(whole + [10], names: .refuse) }
        #expect(error?.problem == .fileTooLong)
    }

    @Test func namesAreReadOnlyWhereThePolicyResolvesThem() throws {
        let text = Array("Build.Example.org alice\nbuild_1\n".utf8)
        for names in [ServiceSettings.Names.hostsFile, .dns] {
            let file = try TrustFile(text, names: names)
            #expect(file.entries.map(\.host) == [.name("build.example.org"), .name("build_1")])
        }
        // What inet_aton would read as an address is never taken for a name.
        for text in ["10.1", "0x0a000001", "167772161", "a.0x1", "012.0.0.1"] {
            let error = #expect(throws: TrustFileError.self) { try TrustFile(Array(text.utf8), names: .dns) }
            #expect(error?.problem == .addressForm, "\(text)")
        }
    }

    @Test(arguments: [
        ("10.0.0.1 alice bob\n", nil as TrustFileError.Problem?), ("10.0.0.1 -alice bob", nil),
        ("-10.0.0.1 alice bob", nil), ("10.0.0.1 alice\n", .tooFewFields), ("10.0.0.1\n", .tooFewFields),
        ("10.0.0.1 alice -bob\n", .localUser), ("10.0.0.1 alice +\n", .wildcard),
        ("10.0.0.1 alice bob carol\n", .tooManyFields), ("10.0.0.1 + bob\n", .wildcard),
        ("10.0.0.1 alice @ng\n", .netgroup),
    ])
    func everyLineOfTheCentralFileNamesAllThree(text: String, problem: TrustFileError.Problem?) {
        let result = Result { try TrustFile(Array(text.utf8), grammar: .central, names: .refuse) }
        switch result {
        case .success: #expect(problem == nil)
        case .failure(let error): #expect((error as? TrustFileError)?.problem == problem)
        }
    }

    @Test func anErrorRepeatsNothingOfTheFile() {
        let error = #expect(throws: TrustFileError.self) { try TrustFile(Array("secret-host\n".utf8), names: .refuse) }
        #expect(error?.description == "line 1: a host name where the policy says 'names refuse'")
    }

    /// Whatever the bytes, parsing ends in entries or an error, and what it read says the same again.
    @Test func noBytesTrapTheParser() throws {
        let seed: UInt64 = .random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        let alphabet = Array("10.2:abf%#-+@ \t\r\n\0x\u{7F}e".utf8) + [0x80, 0xFF]
        for _ in 0..<5_000 {
            let bytes = (0..<Int.random(in: 0...60, using: &random)).map { _ in
                alphabet.randomElement(using: &random) ?? 0
            }
            for grammar in [TrustFile.Grammar.hostsEquiv, .central] {
                guard let file = try? TrustFile(bytes, grammar: grammar, names: .dns) else { continue }
                let again = Array(file.entries.map { Self.text($0) }.joined(separator: [UInt8(ascii: "\n")]))
                let reread = try TrustFile(again, grammar: grammar, names: .dns)
                let place = grammar == .central ? TrustFilePlace.central : .hostsEquiv
                let meanings = file.entries.map { $0.meaning(in: place) }
                #expect(reread.entries.map { $0.meaning(in: place) } == meanings, "seed \(seed)")
            }
        }
    }

    private static func text(_ entry: TrustEntry) -> [UInt8] {
        var fields = [Array((entry.deniesHost ? "-" : "").utf8) + Array(entry.host.description.utf8)]
        switch entry.user {
        case .unstated: break
        case .named(let name): fields.append(name.bytes)
        case .denied(let name): fields.append([UInt8(ascii: "-")] + name.bytes)
        }
        if let local = entry.localUser { fields.append(local.bytes) }
        return Array(fields.joined(separator: [UInt8(ascii: " ")]))
    }
}
