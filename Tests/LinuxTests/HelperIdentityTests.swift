// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux
import Testing

/// How the monitor says whom a helper drops to.
@Suite struct HelperIdentityTests {
    @Test func bothIdsOrNone() {
        #expect(HelperIdentity([])?.uid == nil)
        #expect(HelperIdentity(["--uid", "998", "--gid", "997"])?.uid == 998)
        #expect(HelperIdentity(["--gid", "997", "--uid", "998"])?.gid == 997)
    }

    @Test(
        arguments: [
            ["--uid", "998"], ["--gid", "997"], ["--uid"], ["--uid", "x", "--gid", "1"], ["--uid", "0", "--gid", "1"],
            ["--uid", "1", "--gid", "0"], ["--uid", "4294967295", "--gid", "1"], ["--uid", "-1", "--gid", "1"],
            ["--uid", "1", "--gid", "1", "--uid", "2"], ["--help"], ["--uid", "1", "--gid", "1", "x"],
        ])
    func anythingElseIsAUsageError(_ arguments: [String]) {
        #expect(HelperIdentity(arguments) == nil)
    }
}
