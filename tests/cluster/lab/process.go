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

// lifelineVariable marks a child's standard input as its lifeline: when it closes, the parent is gone.
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

// The parent-death signal is tied to the thread that forked, so one thread that never exits does all the forking.
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

// process is one child. It ends with this process, whatever ends that.
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

// stop sends SIGTERM, waits for grace, then kills. It returns when the process is gone.
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
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal())
		}
		return exit.ExitCode()
	}
	return 1
}

// cleanEnvironment returns our environment without what would mislead a server: cloud credentials, certificate
// overrides, proxies.
func cleanEnvironment() []string {
	clean := []string{}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		upper := strings.ToUpper(name)
		if strings.HasPrefix(upper, "AWS_") || strings.HasPrefix(upper, "SSL_CERT_") || strings.HasPrefix(upper, "REGISTRY_") ||
			strings.HasSuffix(upper, "_PROXY") || strings.HasPrefix(upper, "OTEL_") || name == "KUBECONFIG" || name == lifelineVariable {
			continue
		}
		clean = append(clean, entry)
	}
	return clean
}
