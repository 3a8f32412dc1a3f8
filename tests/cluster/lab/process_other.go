// SPDX-License-Identifier: GPL-3.0-or-later

//go:build !linux

package main

import (
	"syscall"
	"time"
)

func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func adoptOrphans() {}

func reapAll(deadline time.Duration) {}

func residentBytes(pid int) int64 { return 0 }

func childrenOf(pid int) []int { return nil }
