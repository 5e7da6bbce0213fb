// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Testing

@Suite("Blocks of addresses")
struct AddressBlockTests {
    private func made(_ base: String, _ length: Int) -> AddressBlock? {
        IPAddress(base).flatMap { AddressBlock(base: $0, prefixLength: length) }
    }

    @Test func hostBitsAreRefused() {
        #expect(made("10.20.0.0", 16) != nil)
        #expect(made("10.20.0.1", 16) == nil)
        #expect(made("2001:db8::", 32) != nil)
        #expect(made("2001:db8::1", 64) == nil)
        #expect(made("0.0.0.0", 0) != nil)
        #expect(made("0.0.0.1", 0) == nil)
    }

    @Test(arguments: [-1, 33, 128, Int.max, Int.min])
    func aLengthThatTheFamilyDoesNotHaveIsRefused(length: Int) {
        #expect(made("0.0.0.0", length) == nil)
    }

    @Test func aBlockHoldsItsFirstAndLastAddressAndNoOther() throws {
        let block = try #require(made("10.20.0.0", 16))
        #expect(try block.contains(address("10.20.0.0")))
        #expect(try block.contains(address("10.20.255.255")))
        #expect(try !block.contains(address("10.19.255.255")))
        #expect(try !block.contains(address("10.21.0.0")))
    }

    @Test func theWholeOfIPv6HoldsNoIPv4() throws {
        let all = try #require(made("::", 0))
        #expect(try all.contains(address("2001:db8::1")))
        #expect(try !all.contains(address("10.0.0.1")))
        #expect(try !all.contains(address("::ffff:10.0.0.1")))
    }

    @Test func anAddressAloneIsABlockOfOne() throws {
        let one = AddressBlock(try address("192.0.2.7"))
        #expect(one.description == "192.0.2.7")
        #expect(one.prefixLength == 32)
        let block = try #require(made("192.0.2.0", 24))
        #expect(block.contains(one))
        #expect(!one.contains(block))
    }

    @Test func whatHoldsAnAddressIsTheBlockOfItsLeadingBits() throws {
        let address = try address("10.20.30.40")
        for length in 0...32 {
            let block = try #require(AddressBlock(containing: address, prefixLength: length))
            #expect(block.contains(address))
            #expect(AddressBlock(base: block.base, prefixLength: length) == block)
        }
        #expect(AddressBlock(containing: address, prefixLength: 33) == nil)
    }
}
