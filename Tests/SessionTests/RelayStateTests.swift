// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux
import Testing

@testable import Session

/// What a relay decides of stderr, signals, limits and the end: every state with every event, without a socket.
@Suite struct RelayStateTests {
    private static let hangup = Signals.Number.hangup
    private static let kill = Signals.Number.kill
    private static let start: Int64 = 1_000_000

    private func relay(secondary: Bool = true) -> RelayState {
        RelayState(started: Self.start, hasSecondary: secondary)
    }

    // MARK: Stderr

    /// What can happen to stderr.
    enum ErrorEvent: Sendable {
        case read([UInt8])
        case sent(Int, after: Int64)
        case failed
    }

    private static let waiting = RelayState.Errors.sending([1, 2, 3], since: start)
    private static let patience = RelayState.errorPatience

    /// The events that lead to a state, an event, and the state after it with what was sent and dropped.
    static let errorRows: [([ErrorEvent], ErrorEvent, RelayState.Errors, UInt64, UInt64)] = [
        ([], .read([1, 2, 3]), waiting, 0, 0),
        ([], .read([]), .closed, 0, 0),
        ([], .sent(0, after: 0), .reading, 0, 0),
        ([.read([1, 2, 3])], .sent(3, after: 5), .reading, 3, 0),
        ([.read([1, 2, 3])], .sent(1, after: 5), .sending([2, 3], since: start + 5), 1, 0),
        ([.read([1, 2, 3])], .sent(9, after: 5), .reading, 3, 0),
        ([.read([1, 2, 3])], .sent(0, after: patience - 1), waiting, 0, 0),
        ([.read([1, 2, 3])], .sent(0, after: patience), .dropping, 0, 3),
        (
            [.read([1, 2, 3]), .sent(1, after: 5)], .sent(0, after: patience), .sending([2, 3], since: start + 5), 1, 0
        ),
        ([.read([1, 2, 3]), .sent(1, after: 5)], .sent(0, after: patience + 5), .dropping, 1, 2),
        ([.read([1, 2, 3])], .failed, .dropping, 0, 3),
        // Nothing is read while something waits.
        ([.read([1, 2, 3])], .read([4]), waiting, 0, 0),
        ([.read([1, 2, 3])], .read([]), waiting, 0, 0),
        ([.read([1, 2, 3]), .failed], .read([4, 5]), .dropping, 0, 5),
        ([.read([1, 2, 3]), .failed], .sent(2, after: 0), .dropping, 0, 3),
        ([.read([1, 2, 3]), .failed], .read([]), .closed, 0, 3),
        ([.read([])], .read([4]), .closed, 0, 0), ([.read([])], .failed, .closed, 0, 0),
        ([.failed], .read([4]), .dropping, 0, 1),
    ]

    private func apply(_ event: ErrorEvent, to state: inout RelayState) {
        switch event {
        case .read(let bytes): state.tookErrors(bytes, now: Self.start)
        case .sent(let count, let after): state.sentErrors(count, now: Self.start + after)
        case .failed: state.dropErrors()
        }
    }

    @Test func stderrGoesFromStateToStateAsTheTableSays() {
        for (before, event, after, sent, dropped) in Self.errorRows {
            var state = relay()
            for event in before { apply(event, to: &state) }
            apply(event, to: &state)
            let row: Comment = "\(before) \(event)"
            #expect(state.errors == after, row)
            #expect([state.bytesErr, state.droppedErr] == [sent, dropped], row)
            #expect(state.readsErrors == (after == .reading || after == .dropping), row)
        }
        var none = relay(secondary: false)
        none.tookErrors([1], now: Self.start)
        #expect(none.errors == .closed && !none.readsErrors && none.pending.isEmpty)
    }

    /// At the command's end whatever waits has all the time again.
    @Test func whatWaitsAtTheEndWaitsAnew() {
        var state = relay()
        state.tookErrors([1], now: Self.start)
        state.waitAnew(now: Self.start + 9_000)
        state.sentErrors(0, now: Self.start + Self.patience + 8_999)
        #expect(state.pending == [1])
        state.sentErrors(0, now: Self.start + Self.patience + 9_000)
        #expect(state.errors == .dropping)
    }

    // MARK: Signals

    @Test func signalBytesWaitForExecveAndEndOnce() {
        var state = relay()
        #expect(state.signals == .held && !state.hasExecuted)
        #expect(state.tookSignals([2], now: Self.start).isEmpty)
        #expect(state.tookSignals([], now: Self.start).isEmpty)
        #expect(state.signals == .held, "nothing is taken before execve, the end neither")
        state.executed()
        #expect(state.signals == .heard && state.hasExecuted)
        #expect(state.tookSignals([1, 2, 3, 15, 9], now: Self.start) == [1, 2, 3, 15, 9])
        #expect(state.tookSignals([0, 4, 17, 255], now: Self.start).isEmpty)
        #expect(state.ignoredSignals == 4)
        #expect(state.tookSignals([], now: Self.start).isEmpty)
        #expect(state.signals == .closed)
        #expect(state.tookSignals([15], now: Self.start).isEmpty)
        state.executed()
        #expect(state.signals == .closed)

        var failed = relay()
        failed.executed()
        #expect(failed.tookSignals(nil, now: Self.start).isEmpty)
        #expect(failed.signals == .closed && failed.isRunning, "an error cancels nothing")

        var none = relay(secondary: false)
        none.executed()
        #expect(none.signals == .closed && none.hasExecuted)
    }

    @Test func noMoreSignalsASecondAreForwardedThanTheRate() {
        var state = relay()
        state.executed()
        let many = Array(repeating: UInt8(15), count: RelayState.signalRate + 3)
        #expect(state.tookSignals(many, now: Self.start).count == RelayState.signalRate)
        #expect(state.tookSignals([15], now: Self.start + 999).isEmpty)
        #expect(state.ignoredSignals == 4)
        #expect(state.tookSignals([15], now: Self.start + 1_000) == [15])
    }

    // MARK: Limits and the end

    private func enforce(
        _ state: inout RelayState, after: Int64, timeout: Int64? = nil, output: UInt64? = nil, written: UInt64? = 0,
        isClosed: Bool = false
    ) -> [Int32] {
        state.enforce(timeout: timeout, output: output, now: Self.start + after) {
            written.map { ($0, isClosed) }
        }
    }

    @Test func aTimeoutHangsUpAndThenKillsUntilTheEnd() {
        var state = relay()
        #expect(enforce(&state, after: 1_999, timeout: 2_000).isEmpty)
        #expect(enforce(&state, after: 2_000, timeout: 2_000) == [Self.hangup])
        #expect(state.limit == "timeout" && !state.isRunning)
        #expect(enforce(&state, after: 6_999, timeout: 2_000).isEmpty)
        #expect(enforce(&state, after: 7_000, timeout: 2_000) == [Self.kill])
        #expect(enforce(&state, after: 11_999, timeout: 2_000).isEmpty)
        #expect(enforce(&state, after: 12_000, timeout: 2_000) == [Self.kill])
        // A limit that is reached while it ends is not what ended it.
        #expect(enforce(&state, after: 12_001, output: 1, written: 9).isEmpty)
        #expect(state.limit == "timeout")
        state.ended(.signalled(9), leftovers: 2)
        #expect(enforce(&state, after: 90_000, timeout: 2_000).isEmpty)
        #expect(state.end?.leftovers == 2)
    }

    @Test func tooMuchOutputKillsAtOnce() {
        var state = relay()
        // The status byte is none.
        #expect(enforce(&state, after: 0, output: 10, written: 11).isEmpty)
        #expect(enforce(&state, after: 0, output: .max, written: .max).isEmpty)
        #expect(enforce(&state, after: 0, output: 10, written: nil).isEmpty)
        #expect(enforce(&state, after: 0, output: 10, written: 12) == [Self.kill])
        #expect(state.limit == "output")
        #expect(enforce(&state, after: RelayState.hangupGrace, output: 10, written: 12) == [Self.kill])
    }

    @Test func aClientThatIsGoneEndsItsCommandAndAHalfCloseDoesNot() {
        var gone = relay()
        #expect(gone.primaryHungUp(isClosed: true, now: Self.start) == [Self.hangup])
        #expect(gone.primaryHungUp(isClosed: true, now: Self.start).isEmpty, "once")
        #expect(gone.limit == nil)

        var half = relay()
        #expect(enforce(&half, after: 0, isClosed: true).isEmpty, "nobody asks while poll would tell")
        #expect(half.primaryHungUp(isClosed: false, now: Self.start).isEmpty)
        #expect(half.primary == .asked && half.isRunning)
        #expect(enforce(&half, after: 10).isEmpty)
        #expect(enforce(&half, after: 20, isClosed: true) == [Self.hangup])

        var unknown = relay()
        _ = unknown.primaryHungUp(isClosed: false, now: Self.start)
        #expect(enforce(&unknown, after: 0, written: nil) == [Self.hangup], "what cannot be told is gone")
    }

    @Test func aTerminationHangsUpOnceHoweverOftenItIsOrdered() {
        var state = relay()
        #expect(state.hangUp(now: Self.start) == [Self.hangup])
        #expect(state.hangUp(now: Self.start + 4_000).isEmpty)
        #expect(state.life == .ending(killAt: Self.start + RelayState.hangupGrace))
        state.ended(.exited(0), leftovers: nil)
        #expect(state.hangUp(now: Self.start).isEmpty)
    }

    // MARK: How long it waits

    @Test func itWakesForWhateverComesFirst() {
        func patience(_ state: RelayState, timeout: Int64? = nil, output: Bool = false, after: Int64 = 0) -> Int32 {
            state.patience(timeout: timeout, hasOutputLimit: output, now: Self.start + after)
        }
        var state = relay()
        #expect(patience(state) == 30_000)
        #expect(patience(state, timeout: 7_000) == 7_000)
        #expect(patience(state, timeout: 7_000, after: 8_000) == 0)
        #expect(patience(state, timeout: 7_000, output: true) == 50)
        state.tookErrors([1], now: Self.start)
        #expect(patience(state) == 10_000)
        _ = state.primaryHungUp(isClosed: false, now: Self.start)
        #expect(patience(state) == 1_000)
        _ = state.hangUp(now: Self.start)
        #expect(patience(state, timeout: 1, output: true, after: 4_500) == 500, "the limits are no more looked at")
    }
}
