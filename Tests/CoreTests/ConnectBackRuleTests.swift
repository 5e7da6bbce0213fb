// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Testing

/// wire.md, Connect-back.
@Suite struct ConnectBackRuleTests {
    private static let forbidden: Set<UInt16> = [
        512, 513, 514, 515, 540, 543, 544, 587, 631, 636, 873, 989, 990, 991, 992, 993, 994, 995,
    ]

    @Test func anRSHClientIsCalledOnAReservedPortThatNoServiceHas() {
        for port in UInt16.min...UInt16.max {
            let isPermitted = (512...1023).contains(port) && !Self.forbidden.contains(port)
            #expect(ConnectBackRule.permits(port: port, of: .rsh) == isPermitted)
        }
    }

    @Test func aREXECClientIsCalledOnAnyPortFrom1024() {
        for port in UInt16.min...UInt16.max {
            #expect(ConnectBackRule.permits(port: port, of: .rexec) == (port >= 1024))
        }
    }

    /// traps.md: connect-back's own source port stays off the forbidden ports too.
    @Test func ourOwnPortStaysOffTheForbiddenOnesToo() {
        let own = ConnectBackRule.ownPorts
        #expect(Set(own).count == own.count)
        #expect(Set(own) == Set((512...1023).filter { !Self.forbidden.contains($0) }))
    }

    @Test(arguments: [(0, false), (20, false), (511, false), (512, true), (1023, true), (1024, false)])
    func abuse10ASourcePortIsReservedFrom512To1023(_ port: UInt16, _ isReserved: Bool) {
        #expect(ConnectBackRule.isReserved(port) == isReserved)
    }
}
