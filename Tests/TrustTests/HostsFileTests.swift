// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Testing
import Trust

@Suite struct HostsFileTests {
    private static let text = """
        # ours
        10.0.0.1\tbuild.example.org  build # and no more: not
        10.0.0.2 build
        2001:db8::1 six
        fe80::1%eth0 near
        10.1 short
        nonsense
        """

    @Test(
        arguments: [
            ("build", ["10.0.0.1", "10.0.0.2"]), ("BUILD.example.ORG", ["10.0.0.1"]), ("six", ["2001:db8::1"]),
            ("near", ["fe80::1"]),
        ])
    func aNameHasTheAddressesOfItsLines(name: String, addresses: [String]) throws {
        let file = try #require(HostsFile(Array(Self.text.utf8)))
        #expect(file.answer(ByteText(name)) == .addresses(addresses.compactMap { IPAddress($0) }))
    }

    @Test(arguments: ["not", "more", "short", "ours", "", "10.0.0.1", "nonsense"])
    func whatNoLineNamesIsUnknown(name: String) throws {
        let file = try #require(HostsFile(Array(Self.text.utf8)))
        #expect(file.answer(ByteText(name)) == .unknown)
    }

    /// A name gives no scope: such a peer can be denied by it, and never trusted.
    @Test func aLinkLocalAddressOfTheHostsFileDeniesAndNeverTrusts() throws {
        let file = try #require(HostsFile(Array(Self.text.utf8)))
        let lookup = HostTrust.Lookup(
            addresses: { file.answer($0) }, interfaceIndex: { _ in 2 }, localDomain: nil)
        let peer = try claim(from: "fe80::1", scope: 2)
        let decide = { (text: String) in
            HostTrust.decide(
                peer, hostsEquiv: .absent, rhosts: source(text, names: .hostsFile), lookup: lookup
            ).isTrusted
        }
        #expect(!decide("near\n"))
        #expect(decide("fe80::1%eth0\n"))
        #expect(!decide("-near\nfe80::1%eth0\n"))
    }

    @Test func aFileOverTheLimitIsNone() {
        #expect(HostsFile([UInt8](repeating: 10, count: HostsFile.sizeLimit + 1)) == nil)
    }
}
