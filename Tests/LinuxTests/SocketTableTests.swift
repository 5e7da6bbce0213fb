// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Testing

/// The kernel's tables of sockets, and who holds them.
@Suite struct SocketTableTests {
    /// No test fails on a time.
    private static let hour: Int64 = 3_600_000

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
        let all = try SocketHolders(of: [socket.inode], first: [Process.effectiveUserID], patience: Self.hour)
        let holders = all.holders[socket.inode] ?? []
        let own = try #require(holders.first { $0.pid == Process.id })
        #expect(own.uid == Process.effectiveUserID)
        #expect(own.program?.bytes == File.resolved(Array("/proc/self/exe".utf8)))
        #expect(own.file == (try File.status("/proc/self/exe").identity))
    }

    /// A search that was cut off is not told as one that found nobody.
    @Test func aSearchHasATimeAndSaysSoWhereItEnds() throws {
        let listener = try Socket.listen(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0))
        let endpoint = try Socket.local(listener)
        let socket = try #require(try SocketTable.waiting().first { $0.endpoint == endpoint })
        let cut = try SocketHolders(of: [socket.inode], first: [Process.effectiveUserID], patience: 0)
        #expect(!cut.isComplete)
        #expect(cut.holders.isEmpty)
        let none = try SocketHolders(of: [], patience: 0)
        #expect(none.isComplete)
    }

    @Test func othersAreLookedAtWhereNobodyOfTheFirstHoldsIt() throws {
        let listener = try Socket.listen(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0))
        let endpoint = try Socket.local(listener)
        let socket = try #require(try SocketTable.waiting().first { $0.endpoint == endpoint })
        let strangers: Set<UInt32> = [Process.effectiveUserID == 0 ? 1 : 0]
        let found = try SocketHolders(of: [socket.inode], first: strangers, patience: Self.hour)
        #expect(found.holders[socket.inode]?.contains { $0.pid == Process.id } == true)
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
