// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Benchmark
import Core
import Policy
import PolicyLanguage
import PolicyShapes

/// The numbers of rules that everything is measured at.
private let sizes = [100, 10_000, 100_000]

/// A policy that is loaded, and requests that are aimed at it. Nothing of it changes, so that nothing is copied.
private final class Subject {
    let policy: Policy
    let index: PolicyIndex
    let requests: [Request]

    init(_ shape: Shape, _ size: Int, _ choose: (Requests) -> [Request]) {
        let loaded = PolicyText.load(SourceFile(shape, size))
        guard let policy = loaded.policy else { fatalError("\(shape): \(loaded.diagnostics.first?.text ?? "?")") }
        let index = PolicyIndex(policy)
        let requests = choose(Requests(aimedAt: policy, deciding: index.decide))
        guard requests.count >= 1_024 else { fatalError("\(shape): only \(requests.count) requests were found") }
        // What is measured must be right, and the scan is the meaning of a policy; of many rules it takes seconds.
        guard requests.prefix(size > 10_000 ? 1 : 16).allSatisfy({ index.decide($0) == policy.decide($0) }) else {
            fatalError("\(shape): the index does not decide as the scan does")
        }
        (self.policy, self.index, self.requests) = (policy, index, requests)
    }

    subscript(iteration: Int) -> Request { requests[iteration % requests.count] }
}

extension SourceFile {
    fileprivate init(_ shape: Shape, _ size: Int) {
        self.init(name: "benchmark.policy", text: shape.text(rules: size))
    }
}

extension PolicyText {
    /// Without the comparison of the rules, which has a row of its own.
    fileprivate static func load(_ file: SourceFile) -> LoadedPolicy {
        var none = NoPolicyFiles()
        return load(file, files: &none, analyses: false)
    }
}

extension Policy {
    /// The policy with some of its rules, spread evenly, for another user.
    fileprivate func changed(rules count: Int) -> Policy {
        var changed = self
        for place in stride(from: 0, to: rules.count, by: rules.count / count) {
            changed.rules[place].targets = Targets(literal: AccountSet(names: [.root]))
        }
        return changed
    }
}

extension Request {
    /// The request with words of its own: an engine's has just been decoded from its frame.
    fileprivate var decodedAnew: Request {
        var anew = self
        switch command {
        case .words(let words, let program):
            let its = program.map { program in
                RequestedCommand.Program(path: program.path.anew, resolvedPath: program.resolvedPath.anew)
            }
            anew.command = .words(words.map(\.anew), program: its)
        case .needsShell(let word):
            anew.command = .needsShell(firstWord: word?.anew)
        }
        anew.target.groups = target.groups.map(\.anew)
        return anew
    }
}

extension ByteText {
    fileprivate var anew: ByteText { ByteText(bytes.map { $0 }) }
}

extension Decision {
    fileprivate var isPermit: Bool {
        if case .permit = self { true } else { false }
    }
}

private func configuration(
    _ metrics: [BenchmarkMetric] = [.wallClock], warmup: Int = 1, seconds: Int = 1
) -> Benchmark.Configuration {
    .init(
        metrics: metrics, timeUnits: .nanoseconds, warmupIterations: warmup, maxDuration: .seconds(seconds),
        maxIterations: 1_000_000)
}

/// A benchmark of one subject, which is made in its setup: each runs in a process of its own.
private func measure(
    _ name: String, _ shape: Shape, _ size: Int, warmup: Int = 1, choosing choose: @escaping (Requests) -> [Request],
    _ body: @escaping (Subject, Int) -> Void
) {
    var subject: Subject?
    Benchmark("\(name)/\(size)", configuration: configuration(warmup: warmup)) { benchmark in
        guard let subject else { return }
        body(subject, benchmark.currentIteration)
    } setup: {
        subject = Subject(shape, size, choose)
    }
}

/// One decision is one measurement, so that its percentiles are those of single requests; the clock's own share is
/// in every one of them, and has a row of its own.
private func decisions() {
    Benchmark("clock", configuration: configuration(warmup: 1_000)) { benchmark in
        benchmark.startMeasurement()
        benchmark.stopMeasurement()
    }
    for size in sizes {
        for shape in Shape.allCases { decision("decide/\(shape.rawValue)", shape, size) { $0.mixed } }
        decision("decide/site permitted", .site, size, \.permitted)
        decision("decide/site refused", .site, size, \.refused)
        measure("scan/site", .site, size, choosing: \.mixed) { blackHole($0.policy.decide($0[$1]).isPermit) }
    }
}

private func decision(_ name: String, _ shape: Shape, _ size: Int, _ choose: @escaping (Requests) -> [Request]) {
    var subject: Subject?
    Benchmark("\(name)/\(size)", configuration: configuration(warmup: 4 * Requests.count)) { benchmark in
        guard let subject else { return }
        // Another request goes before it: what the library does between two measurements would else have driven the engine's
        // code, but none of its data, out of the nearest caches. As in the engine, the request itself was made just before.
        blackHole(subject.index.decide(subject[benchmark.currentIteration + Requests.count / 2]).isPermit)
        let request = subject[benchmark.currentIteration].decodedAnew
        benchmark.startMeasurement()
        let isPermit = subject.index.decide(request).isPermit
        benchmark.stopMeasurement()
        blackHole(isPermit)
        // To give its words back is no part of the decision.
        blackHole(request)
    } setup: {
        subject = Subject(shape, size, choose)
    }
}

/// A benchmark of a policy's text, written in its setup.
private func measure(
    _ name: String, _ shape: Shape, _ size: Int, _ metrics: [BenchmarkMetric], _ body: @escaping (SourceFile) -> Void
) {
    var file: SourceFile?
    Benchmark("\(name)/\(size)", configuration: configuration(metrics, seconds: 5)) { _ in
        guard let file else { return }
        body(file)
    } setup: {
        file = SourceFile(shape, size)
    }
}

/// From text to an index that is ready to be asked.
private func loads() {
    for size in sizes {
        for shape in [Shape.site, .oneSource, .longArguments, .sharedSets] {
            measure("load/\(shape.rawValue)", shape, size, [.wallClock, .cpuTotal, .peakMemoryResident]) { file in
                blackHole(PolicyText.load(file).policy.map(PolicyIndex.init))
            }
        }
    }
}

/// A denial with what would have changed it.
private func explanations() {
    for size in sizes {
        measure("explain/site", .site, size, choosing: \.refused) { blackHole($0.policy.explain($0[$1])) }
    }
}

/// The questions that look at all rules: what `check`, `diff` and `who-can` are made of.
private func analyses() {
    for size in sizes {
        measure("check/site", .site, size, [.wallClock, .cpuTotal]) { file in
            var none = NoPolicyFiles()
            blackHole(PolicyText.load(file, files: &none, analyses: true))
        }
        // Ten of the rules differ.
        var changed: Policy?
        measure("diff/site", .site, size, choosing: \.mixed) { subject, _ in
            if changed == nil { changed = subject.policy.changed(rules: 10) }
            if let changed { blackHole(PolicyDifference(old: subject.policy, new: changed)) }
        }
        measure("who-can/site", .site, size, choosing: \.permitted) { subject, iteration in
            var question = PartialRequest()
            question.target = subject[iteration].target
            question.command = subject[iteration].command
            blackHole(subject.policy.permits(for: question))
        }
    }
}

let benchmarks: @Sendable () -> Void = {
    decisions()
    loads()
    explanations()
    analyses()
}
