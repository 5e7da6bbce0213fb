// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux

/// A process that is, or is to become, a request's session, and the monitor's way to it.
struct SessionProcess {
    /// Its number, by which epoll names it and the engine knows its session.
    let number: UInt64
    let handle: ProcessHandle
    /// The monitor's end of its channel.
    let channel: Channel
}

/// Sessions that were forked ahead of their requests, and when the next one is made.
///
/// They are made while nothing else happens, one at a time: a fork of the monitor takes longer than anything else that it
/// does for a request. Where requests come faster than that, they find none, and are forked for as they come; so a flood
/// makes no spare, and costs what it costs without them.
struct Spares {
    /// How many wait at most: as many as can be at work at once, twice, because a client's next request may come before
    /// the monitor has had a quiet moment; no fewer than four, for a client that asks for a few things at once; and
    /// no more than eight, because each takes some 3 MB (docs/benchmarks.md, Spare sessions).
    static func places(processors: Int) -> Int {
        min(max(processors * 2, 4), 8)
    }

    /// Nothing has happened for so long: it is quiet. In milliseconds.
    static let quietTime: Int64 = 2
    /// How long none is made after one has died or could not be made: twice as long after each further one, up to the
    /// limit. In milliseconds.
    static let firstPause: Int64 = 1_000
    /// The longest such pause, in milliseconds.
    static let longestPause: Int64 = 60_000

    /// The most that wait.
    let size: Int
    /// Those that wait, the oldest first.
    private(set) var waiting: [SessionProcess] = []
    private var quietFrom: Int64 = 0
    private var pausedUntil: Int64 = 0
    private var nextPause = firstPause

    init(size: Int) {
        self.size = size
    }

    subscript(number: UInt64) -> SessionProcess? {
        waiting.first { $0.number == number }
    }

    /// When the next one is made, on the monotonic clock; nil while all are there.
    var due: Int64? { waiting.count < size ? max(quietFrom, pausedUntil) : nil }

    /// Something happened: what is to be made waits until it is quiet.
    mutating func disturb(now: Int64) {
        quietFrom = now + Self.quietTime
    }

    /// One was made.
    mutating func add(_ process: SessionProcess) {
        waiting.append(process)
    }

    /// Takes the one out that waited longest, and so is ready if any is: nobody else is ever given it.
    mutating func take() -> SessionProcess? {
        waiting.isEmpty ? nil : waiting.removeFirst()
    }

    /// One has taken its request: the next that dies is the first again.
    mutating func served() {
        nextPause = Self.firstPause
    }

    /// Puts one back that was taken and could not be told.
    mutating func putBack(_ process: SessionProcess) {
        waiting.insert(process, at: 0)
    }

    /// One has died while it waited, or could not be made.
    ///
    /// - Returns: for how long none is made; nil within such a pause, as what ended several at once was one thing.
    mutating func failed(_ number: UInt64? = nil, now: Int64) -> Int64? {
        waiting.removeAll { $0.number == number }
        guard now >= pausedUntil else { return nil }
        let pause = nextPause
        pausedUntil = now + pause
        nextPause = min(pause * 2, Self.longestPause)
        return pause
    }

    /// Takes all of them out; what became of them holds up no later one.
    mutating func removeAll() -> [SessionProcess] {
        defer { waiting = [] }
        (pausedUntil, nextPause) = (0, Self.firstPause)
        return waiting
    }
}
