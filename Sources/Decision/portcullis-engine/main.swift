// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import EngineService
import Linux

// portcullis-engine [policy]: policy text in, decisions out. Started by portcullisd alone.
Process.exitNow(EngineProgram.run(CommandLine.arguments))
