// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// policy-text SHAPE COUNT: the sets and rules of a benchmark's policy, without its services.

import PolicyShapes

let arguments = CommandLine.arguments.dropFirst()
guard arguments.count == 2, let shape = arguments.first.flatMap(Shape.init(rawValue:)),
    let count = arguments.last.flatMap({ Int($0) }), count > 0
else { fatalError("usage: policy-text SHAPE COUNT, where SHAPE is one of \(Shape.allCases.map(\.rawValue))") }
print(shape.rules(count), terminator: "")
