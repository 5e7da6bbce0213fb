// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
public import Core
internal import Glibc

/// The machine's clocks.
public enum Clock {
    /// Milliseconds since some moment; never set back.
    public static func monotonicMilliseconds() -> Int64 {
        milliseconds(CLOCK_MONOTONIC)
    }

    /// Milliseconds since 1970.
    public static func wallMilliseconds() -> Int64 {
        milliseconds(CLOCK_REALTIME)
    }

    private static func milliseconds(_ clock: clockid_t) -> Int64 {
        var now = timespec()
        // SAFETY: clock_gettime writes one timespec, and these clocks always exist.
        unsafe clock_gettime(clock, &now)
        return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
    }

    /// This moment in local time, as rules look at it.
    public static func localTime() -> LocalTime? {
        localTime(seconds: wallMilliseconds() / 1_000)
    }

    /// A moment in local time.
    public static func localTime(seconds: Int64) -> LocalTime? {
        var moment = time_t(seconds)
        // SAFETY: a zeroed tm is a valid one; its zone pointer is never read here.
        var parts = unsafe tm()
        // SAFETY: localtime_r reads one time_t and writes one tm.
        guard unsafe localtime_r(&moment, &parts) != nil else { return nil }
        // SAFETY: only numbers are read.
        return unsafe LocalTime(weekday: Int(parts.tm_wday), minute: Int(parts.tm_hour) * 60 + Int(parts.tm_min))
    }

    /// Local date and time as text in a strftime(3) format.
    public static func localText(seconds: Int64, format: String) -> String {
        var moment = time_t(seconds)
        // SAFETY: a zeroed tm is a valid one; its zone pointer is never read here.
        var parts = unsafe tm()
        // SAFETY: localtime_r reads one time_t and writes one tm.
        guard unsafe localtime_r(&moment, &parts) != nil else { return "?" }
        // SAFETY: the buffer has the room that strftime is told, and only what it wrote is counted.
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 256) { buffer, count in
            guard let base = buffer.baseAddress else { return }
            // SAFETY: UInt8 and CChar have the same layout.
            count = unsafe base.withMemoryRebound(to: CChar.self, capacity: 256) { text in
                unsafe strftime(text, 256, format, &parts)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Reads the time zone's file now, so that a process that will have no files still knows local time.
    public static func warm() {
        tzset()
        _ = localTime()
    }

    /// Waits.
    public static func sleep(milliseconds: Int) {
        var wanted = timespec(tv_sec: milliseconds / 1_000, tv_nsec: milliseconds % 1_000 * 1_000_000)
        // SAFETY: nanosleep reads one timespec.
        unsafe nanosleep(&wanted, nil)
    }
}

/// The kernel's random numbers.
public enum Random {
    /// Random bytes, from getrandom(2), which cannot fail for so few once the kernel has started.
    public static func bytes(_ count: Int) throws(SystemError) -> [UInt8] {
        var got = 0
        // SAFETY: the buffer has room for `count` bytes, and only what the kernel wrote is counted.
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, written in
            got = unsafe getrandom(buffer.baseAddress, count, 0)
            written = max(got, 0)
        }
        guard got == count else { throw .last("getrandom") }
        return bytes
    }
}
