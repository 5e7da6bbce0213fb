// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Glibc
import Linux
import Testing

/// On the test's own thread, from start to end: a mask is a thread's, and the runner's threads block much of their own.
@Suite struct SignalsTests {
    /// Runs with nothing blocked.
    private func withNothingBlocked(_ body: () throws -> Void) rethrows {
        var none = sigset_t()
        var before = sigset_t()
        // SAFETY: the calls read and write locals.
        unsafe sigemptyset(&none)
        unsafe pthread_sigmask(SIG_SETMASK, &none, &before)
        defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
        try body()
    }

    private func isBlocked(_ number: Int32) -> Bool {
        var mask = sigset_t()
        // SAFETY: the calls read and write one local.
        return unsafe pthread_sigmask(SIG_BLOCK, nil, &mask) == 0 && sigismember(&mask, number) == 1
    }

    @Test func signalsAreBlockedWhileTheValueLivesAndNoLonger() throws {
        try withNothingBlocked {
            do {
                let signals = try Signals([SIGURG])
                #expect(isBlocked(SIGURG))
                let inner = try Signals([SIGURG])
                withExtendedLifetime(inner) {}
                // The inner one had nothing to block, and so nothing to give back.
                #expect(isBlocked(SIGURG))
                withExtendedLifetime(signals) {}
            }
            #expect(!isBlocked(SIGURG))
        }
    }

    @Test func aValueForGoodLeavesItsSignalsBlocked() throws {
        try withNothingBlocked {
            _ = try Signals([SIGURG], forGood: true)
            #expect(isBlocked(SIGURG))
        }
    }

    /// Where a signal is ignored nobody misses it: the default of SIGWINCH is the same.
    @Test func anIgnoredSignalCanBeLeftOut() throws {
        Signals.ignore(SIGWINCH)
        #expect(Signals.isIgnored(SIGWINCH))
        #expect(!Signals.isIgnored(SIGURG))
        try withNothingBlocked {
            let signals = try Signals([SIGWINCH, SIGURG], exceptIgnored: true)
            #expect(!isBlocked(SIGWINCH))
            #expect(isBlocked(SIGURG))
            withExtendedLifetime(signals) {}
        }
    }
}
