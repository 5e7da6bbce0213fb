// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import KernelAudit
import Linux
import Testing

@Suite struct KernelAuditTests {
    /// Whether this process can send at all; where it cannot, the failure is one of the two that are told apart.
    private func open() throws -> KernelAudit? {
        do {
            return try KernelAudit()
        } catch {
            #expect(KernelAudit.isNotCompiledIn(error) || KernelAudit.isNotPermitted(error), "\(error)")
            return nil
        }
    }

    @Test func aMessageIsAcknowledgedOrTheKernelSaysWhyNot() throws {
        guard let audit = try open() else { return }
        do {
            try audit.send(type: 1_112, "op=login acct=\"portcullis-test\" hostname=? addr=? terminal=rsh res=failed")
        } catch {
            #expect(KernelAudit.isNotPermitted(error), "\(error)")
        }
    }

    @Test(arguments: [UInt16(0), 1_000, 1_099, 1_200, 2_099, 3_000])
    func aTypeThatIsNoUsersIsNotSent(type: UInt16) throws {
        guard let audit = try open() else { return }
        #expect(throws: SystemError.self) { try audit.send(type: type, "op=x") }
    }

    @Test func aTextThatCouldForgeALineIsNotSent() throws {
        guard let audit = try open() else { return }
        #expect(throws: SystemError.self) { try audit.send(type: 1_112, ByteText("op=x\nop=y")) }
        #expect(throws: SystemError.self) { try audit.send(type: 1_112, ByteText("op=\u{0}")) }
        let long = ByteText([UInt8](repeating: 65, count: KernelAudit.textLimit + 1))
        #expect(throws: SystemError.self) { try audit.send(type: 1_112, long) }
    }

    @Test func theLoginIdentityIsReadBack() {
        let now = LoginIdentity.current()
        #expect(now == LoginIdentity.current())
    }
}
