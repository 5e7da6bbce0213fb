// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// launch-cost ROUNDS: what it costs to start a command confined, in microseconds of wall time.
//
// One round starts /usr/bin/true bare (fork, execve), and in each built-in sandbox as a session does: a control group, an
// init in it and in namespaces, its mounts, a process that shares its memory, limits, ids, Landlock, the filter, execve.
// Each is measured from before the first of it to the moment of execve, which closes a pipe; what follows, the loader under
// the filter included, is not in it. All are started by one process of one size, in turn, so that what disturbs one disturbs
// the others. Prints a line for each: name, median, 95 of 100, and the median of the differences from the same round's bare
// start.

import Core
import Linux
import Policy
import Seccomp

let program = Array("/usr/bin/true".utf8)
guard Process.isRoot, let rounds = Swift.CommandLine.arguments.dropFirst().first.flatMap({ Int($0) }), rounds > 0 else {
    fatalError("usage, as root: launch-cost ROUNDS")
}
let target = Credentials(uid: 65_534, gid: 65_534, groups: [])
let closed = [
    ClosedDirectory("/var/lib/portcullis"), ClosedDirectory("/run/portcullis"),
    ClosedDirectory("/etc/portcullis", isReadable: true),
]
let network = try EmptyNetwork.make()
let mounts = try EmptyMounts.make()
try CommandConfinement.rehearse()
let common = CommonDevices.make()
let cgroup = try GatewayCgroup.make()
let boundsProcesses = ProcessNumbers.canBeBounded()

/// A way to start the command: the process that the parent waits for; in that, or in what it starts, execve happens.
typealias Start = (_ report: Descriptor) throws -> ProcessHandle

func execute() -> Never {
    _ = Process.execute(program, arguments: [program], environment: [])
    Process.exitNow(126)
}

func bare(_ report: Descriptor) throws -> ProcessHandle {
    switch try Namespaces([]).fork() {
    case .child: execute()
    case .parent(let handle): return handle
    }
}

func confined(_ name: String) throws -> Start {
    guard let sandbox = SandboxDefinition.builtIn(name)?.sandbox(named: name) else { fatalError("no sandbox \(name)") }
    let compiled = CompiledSandbox(sandbox: sandbox, filter: try SystemCallFilter.compile(sandbox))
    return { report in
        let confinement = try CommandConfinement(
            compiled, credentials: target, home: "/var", closed: closed, boundsProcesses: boundsProcesses,
            groupBounds: cgroup?.sessions.bounds ?? [])
        let group = try cgroup?.sessions.make(session: 1)
        try group?.bound(memory: sandbox.limits.memory, processes: sandbox.limits.processes)
        let devices = confinement.hasCommonDevices ? try common?.copy() : nil
        switch try confinement.namespaces.fork(into: group?.descriptor) {
        case .parent(let handle):
            return handle
        case .child:
            do {
                try Process.dieWithParent()
                try Namespaces.hideGroups()
                try confinement.leaveNetwork(for: network)
                let ruleset = try confinement.mount(in: mounts, devices: devices)
                try Process.dieWithParent()
                try Process.becomeUndumpable()
                _ = try Process.startSharing {
                    do {
                        try Process.startSession()
                        _ = try confinement.limit()
                        Process.setUmask(sandbox.umask)
                        try confinement.drop()
                        try confinement.restrict(ruleset)
                        try confinement.load()
                    } catch {
                        StandardError("launch-cost").say("\(name): \(error)")
                        Process.exitNow(125)
                    }
                    execute()
                }
                // Its copy of the report closes now.
                try StandardStreams.input.place(at: report.number)
                while Children.wait(leaving: false, blocking: true) != nil {}
                Process.exitNow(0)
            } catch {
                StandardError("launch-cost").say("\(name): \(error)")
                Process.exitNow(125)
            }
        }
    }
}

/// Microseconds from before the fork to execve.
func measure(_ start: Start) throws -> Double {
    let (read, write) = try Descriptor.pipe()
    let begun = ContinuousClock.now
    let handle = try start(write)
    // This process's copy of the writing end.
    try StandardStreams.input.place(at: write.number)
    _ = try read.readAll(limit: 64)
    let time = begun.duration(to: .now)
    Children.reap(handle.pid)
    if let cgroup {
        while try !cgroup.sessions.clear(session: 1) {}
    }
    let (seconds, attoseconds) = time.components
    return Double(seconds) * 1e6 + Double(attoseconds) / 1e12
}

func part(_ values: [Double], _ share: Double) -> Double {
    let sorted = values.sorted()
    return sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
}

// As warm as a monitor is: it has looked at ways and directories before it forks a session.
for name in SandboxDefinition.builtInNames {
    if let sandbox = SandboxDefinition.builtIn(name)?.sandbox(named: name) {
        _ = Confinement.canWriteHome(sandbox, home: "/var")
    }
}
let ways = [("bare", bare)] + (try SandboxDefinition.builtInNames.map { ($0, try confined($0)) })
var times = [[Double]](repeating: [], count: ways.count)
for round in 0..<(rounds + 10) {
    for (index, way) in ways.enumerated() {
        let time = try measure(way.1)
        // The first ones find everything cold.
        if round >= 10 { times[index].append(time) }
    }
}
cgroup?.remove()
for ((name, _), values) in zip(ways, times) {
    let differences = zip(values, times[0]).map { $0 - $1 }
    print(name, Int(part(values, 0.5)), Int(part(values, 0.95)), Int(part(differences, 0.5)))
}
