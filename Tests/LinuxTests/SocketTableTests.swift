// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Testing

/// The kernel's tables of sockets, and who holds them.
@Suite struct SocketTableTests {
    @Test(arguments: ["127.0.0.1", "::1"])
    func aListenerIsFoundWithItsHolder(address: String) throws {
        let address = try #require(IPAddress(address))
        let listener = try Socket.listen(Endpoint(address: address, port: 0))
        let endpoint = try Socket.local(listener)
        let found = try SocketTable.waiting().filter { $0.endpoint == endpoint }
        let socket = try #require(found.first)
        #expect(found.count == 1)
        #expect(socket.transport == .tcp)
        // A child that another test has forked meanwhile may hold a copy.
        let holders = try SocketHolders(of: [socket.inode]).holders[socket.inode] ?? []
        let own = try #require(holders.first { $0.pid == Process.id })
        #expect(own.uid == Process.effectiveUserID)
        #expect(own.program?.bytes == File.resolved(Array("/proc/self/exe".utf8)))
    }

    @Test func aTableThatIsNotThereIsAnError() {
        #expect(throws: SystemError.self) { try SocketTable.waiting("/nonexistent") }
    }

    @Test func everyAccountHasItsNameAndNumber() throws {
        let all = try Accounts.all()
        #expect(all.contains { $0.uid == 0 && $0.name == "root" })
        for entry in all.prefix(5) {
            let name = try #require(UserName(bytes: entry.name.bytes))
            #expect(try Accounts.named(name) == entry)
        }
    }
}
