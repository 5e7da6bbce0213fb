// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import AuditorService
import Linux

// portcullis-auditor [audit]: the one writer of the trail. Started by portcullisd alone.
Process.exitNow(AuditorProgram.run(CommandLine.arguments))
