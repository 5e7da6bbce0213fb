// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import TestSupport
import Testing

@Suite("Addresses have one meaning and one form")
struct IPAddressTests {
    @Test(
        arguments: [
            ("0.0.0.0", "0.0.0.0"), ("10.20.30.40", "10.20.30.40"), ("255.255.255.255", "255.255.255.255"),
            ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("2001:DB8::0:1", "2001:db8::1"),
            ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
            ("1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7:0"), ("0:1:2:3:4:5:6:7", "0:1:2:3:4:5:6:7"),
            ("::ffff:10.0.0.1", "10.0.0.1"), ("::ffff:a00:1", "10.0.0.1"), ("::1.2.3.4", "::102:304"),
            ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"), ("1:2:3:4:5:6:77.77.88.88", "1:2:3:4:5:6:4d4d:5858"),
        ])
    func anAddressIsReadAndPrinted(text: String, printed: String) {
        #expect(IPAddress(text)?.description == printed)
    }

    @Test(
        arguments: [
            "", ".", "1.2.3", "1.2.3.4.5", "1.2.3.4.", ".1.2.3.4", "01.2.3.4", "1.2.3.256", "0x1.2.3.4", "1.2.3.-4",
            "1.2.3.4 ", " 1.2.3.4", "+1.2.3.4", "2130706433", "1.2.3.1000", ":", ":::", "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1::2::3", "12345::", "g::", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3.4:5", "fe80::1%lo", "[::1]", "1:", ":1",
            "::1:2:3:4:5:6:7:8", "1.2.3.4::", "::1.2.3", "\u{661}.2.3.4", String(repeating: "1", count: 46),
        ])
    func whatIsNoAddressIsRefused(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test(arguments: ["10.0.0.1", "::1", "2001:db8::1"])
    func theCanonicalFormIsTheOneThatIsPrinted(text: String) {
        #expect(IPAddress.canonical(Array(text.utf8)) != nil)
    }

    @Test(arguments: ["2001:DB8::1", "2001:db8:0::1", "::ffff:10.0.0.1", "0:0:0:0:0:0:0:1", "::0001"])
    func anotherFormIsNotCanonical(text: String) {
        #expect(IPAddress(text) != nil)
        #expect(IPAddress.canonical(Array(text.utf8)) == nil)
    }

    /// A listener that takes both families reports IPv4 peers as mapped ones; a rule must not be got round by that.
    @Test func aMappedPeerIsItsIPv4Address() throws {
        let bytes: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 10, 0, 0, 1]
        let mapped = try #require(IPAddress(networkBytes: bytes))
        #expect(mapped == IPAddress("10.0.0.1"))
        #expect(mapped.family == .v4)
    }

    @Test func everyAddressSurvivesItsText() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<20_000 {
            let v4 = IPAddress(v4: UInt32.random(in: 0...UInt32.max, using: &random))
            #expect(IPAddress(v4.description) == v4, "seed \(seed)")
            // Groups are often zero, so that the compression is tried.
            var value: UInt128 = 0
            for _ in 0..<8 {
                let group = Bool.random(using: &random) ? 0 : UInt16.random(in: 0...UInt16.max, using: &random)
                value = value << 16 | UInt128(group)
            }
            let v6 = IPAddress(v6: value)
            #expect(IPAddress(v6.description) == v6, "seed \(seed)")
            #expect(IPAddress(networkBytes: v6.networkBytes) == v6, "seed \(seed)")
        }
    }

    @Test func noBytesTrapTheReader() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let alphabet = Array("0123456789abcdefF:.%x ".utf8) + [0, 0xFF]
        for _ in 0..<50_000 {
            let count = Int.random(in: 0...50, using: &random)
            let text = (0..<count).compactMap { _ in alphabet.randomElement(using: &random) }
            if let address = IPAddress(ascii: text) {
                #expect(IPAddress(address.description) == address, "seed \(seed)")
            }
        }
    }

    @Test func loopbackAndLinkLocalAreKnown() throws {
        #expect(try address("127.255.0.1").isLoopback)
        #expect(try address("::1").isLoopback)
        #expect(try !address("128.0.0.1").isLoopback)
        #expect(try address("fe80::1").isLinkLocal)
        #expect(try address("febf::1").isLinkLocal)
        #expect(try !address("fec0::1").isLinkLocal)
    }
}

/// An address that a test needs.
func address(_ text: String) throws -> IPAddress {
    try #require(IPAddress(text))
}
