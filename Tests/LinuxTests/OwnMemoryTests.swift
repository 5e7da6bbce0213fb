// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Testing

@testable import Linux

@Suite struct OwnMemoryTests {
    @Test func heapStackAndCodeAreWorthItAndOthersAreNot() {
        let maps = """
            55c9fc61f000-55c9fcd00000 r-xp 00000000 fe:00 6725874                    /usr/sbin/portcullisd
            55c9fcd00000-55c9fcd22000 r--p 006e0000 fe:00 6725874                    /usr/sbin/portcullisd
            55c9fcd22000-55c9fce34000 rw-p 00702000 fe:00 6725874                    /usr/sbin/portcullisd
            55ca2ea02000-55ca2ea6f000 rw-p 00000000 00:00 0                          [heap]
            7f940e600000-7f940e699000 rw-s 00000000 fe:00 333671                     /dev/shm/a b
            7ffe50c35000-7ffe50c56000 rw-p 00000000 00:00 0                          [stack]
            ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]

            """
        let expected = [
            OwnMemory.Range(start: 0x55c9_fc61_f000, count: 0x6e_1000, isWritten: false),
            OwnMemory.Range(start: 0x55ca_2ea0_2000, count: 0x6_d000, isWritten: true),
            OwnMemory.Range(start: 0x7ffe_50c3_5000, count: 0x2_1000, isWritten: true),
        ]
        #expect(OwnMemory.ranges(Array(maps.utf8)) == expected)
    }

    @Test(arguments: [
        "", "x", "1000-2000", "2000-1000 rw-p", "1000 rw-p", "g-h rw-p", "1000-2000-3000 rw-p",
        "0-ffffffffffffffff rw-p", "fffffffffffffffff-1 r-xp",
    ])
    func whatIsNoMappingIsPassedOver(line: String) {
        #expect(OwnMemory.ranges(Array(line.utf8)).isEmpty)
    }

    /// It changes nothing that a program sees.
    @Test func memoryHasWhatItHad() {
        let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0) }
        OwnMemory.populate()
        #expect(bytes.enumerated().allSatisfy { UInt8(truncatingIfNeeded: $0) == $1 })
    }
}
