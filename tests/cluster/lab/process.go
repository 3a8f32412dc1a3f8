// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// lifelineVariable tells a child of ours that its standard input is a lifeline: when it ends, the parent is gone.
const lifelineVariable = "ALAUDA_LAB_LIFELINE"

// watchLifeline ends this process when the parent that holds the other end of standard input is gone.
// It works on every system; on Linux the kernel's parent-death signal does the same at once.
func watchLifeline() {
	if os.Getenv(lifelineVariable) == "" {
		return
	}
	os.Unsetenv(lifelineVariable)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
}

// The parent-death signal follows the thread that forked, so one thread that never ends forks everything.
var (
	forkOnce  sync.Once
	forkQueue = make(chan func())
)

func onForkThread(work func() error) error {
	forkOnce.Do(func() {
		go func() {
			runtime.LockOSThread()
			for job := range forkQueue {
				job()
			}
		}()
	})
	result := make(chan error, 1)
	forkQueue <- func() { result <- work() }
	return <-result
}

// process is one child. It dies with us, whatever ends us.
type process struct {
	name    string
	argv    []string
	env     []string // complete environment
	dir     string
	output  io.Writer // stdout and stderr
	started time.Time

	command  *exec.Cmd
	lifeline io.Closer
	done     chan struct{}
	exit     error // valid once done is closed
}

func (p *process) start() error {
	p.command = exec.Command(p.argv[0], p.argv[1:]...)
	p.command.Env = append(append([]string{}, p.env...), lifelineVariable+"=1")
	p.command.Dir = p.dir
	p.command.Stdout, p.command.Stderr = p.output, p.output
	p.command.SysProcAttr = childAttributes()
	lifeline, err := p.command.StdinPipe()
	if err != nil {
		return err
	}
	if err := onForkThread(p.command.Start); err != nil {
		return err
	}
	p.lifeline, p.started, p.done = lifeline, time.Now(), make(chan struct{})
	go func() {
		p.exit = p.command.Wait()
		close(p.done)
	}()
	return nil
}

func (p *process) alive() bool {
	if p == nil || p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// stop asks, waits for grace, then kills. It returns when the process is gone.
func (p *process) stop(grace time.Duration) {
	if !p.alive() {
		return
	}
	if grace > 0 {
		_ = p.command.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
			return
		case <-time.After(grace):
		}
	}
	_ = p.command.Process.Kill()
	<-p.done
}

// exitCode is the code a container runtime would report: 128+signal for a killed process.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	var exited *exec.ExitError
	if errors.As(err, &exited) {
		if status, ok := exited.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal())
		}
		return exited.ExitCode()
	}
	return 1
}

// cleanEnvironment is ours without what would lead a server astray: cloud credentials, certificate overrides, proxies.
func cleanEnvironment() []string {
	kept := []string{}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		upper := strings.ToUpper(name)
		if strings.HasPrefix(upper, "AWS_") || strings.HasPrefix(upper, "SSL_CERT_") || strings.HasPrefix(upper, "REGISTRY_") ||
			strings.HasSuffix(upper, "_PROXY") || strings.HasPrefix(upper, "OTEL_") || name == "KUBECONFIG" || name == lifelineVariable {
			continue
		}
		kept = append(kept, entry)
	}
	return kept
}
