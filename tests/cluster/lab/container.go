// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

const (
	registryContainer = "registry"
	slowness          = 15 * time.Second       // added to a slow Pod's time to readiness
	slowAnswer        = 500 * time.Millisecond // added to each connection to it
	probePause        = 100 * time.Millisecond
)

// registryConfiguration is the file in the registry's image; everything else comes from REGISTRY_ variables, as on a
// real cluster.
const registryConfiguration = `version: 0.1
log: {level: info, formatter: text, fields: {service: registry}}
http: {addr: ":5000"}
storage:
  delete: {enabled: true}
  cache: {blobdescriptor: inmemory}
`

// container is one container of a Pod. The worker's mutex guards every field that status and logs read.
type container struct {
	w    *worker
	spec *corev1.Container

	restarts   int
	startedAt  time.Time // of the current or last run; zero: never ran
	finishedAt time.Time
	ended      bool // the current run is over
	exitCode   int
	ready      bool
	answered   bool // its port has answered
	probing    bool
	waiting    string // reason, while there is no run
	message    string
	previous   *corev1.ContainerStateTerminated

	process   *process // nil for a simulated container
	endsAt    time.Time
	restartAt time.Time
	backOff   time.Duration
	log       *containerLog
	retryAt   time.Time
}

func (c *container) isRunning() bool {
	c.w.mutex.Lock()
	defer c.w.mutex.Unlock()
	return !c.startedAt.IsZero() && !c.ended
}

func (c *container) willRestart(pod *corev1.Pod) bool {
	switch pod.Spec.RestartPolicy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return c.exitCode != 0
	default:
		return true
	}
}

// sync does what is due for this container and returns the time until the next sync.
func (c *container) sync(ctx context.Context, pod *corev1.Pod) time.Duration {
	switch {
	case c.startedAt.IsZero():
		if wait := time.Until(c.retryAt); wait > 0 {
			return wait
		}
		return c.start(ctx, pod)
	case !c.ended:
		return c.watchRun(pod)
	case c.willRestart(pod):
		if wait := time.Until(c.restartAt); wait > 0 {
			return wait
		}
		c.w.mutex.Lock()
		c.restarts++
		c.w.mutex.Unlock()
		return c.start(ctx, pod)
	default:
		return time.Hour
	}
}

// start begins a run. A missing Secret, ConfigMap or key keeps the container waiting, as on a real node.
func (c *container) start(ctx context.Context, pod *corev1.Pod) time.Duration {
	environment, err := c.environment(ctx, pod)
	if err != nil {
		c.w.mutex.Lock()
		changed := c.message != err.Error()
		c.waiting, c.message = "CreateContainerConfigError", err.Error()
		c.retryAt = time.Now().Add(mountRetry)
		c.restartAt = c.retryAt
		c.w.mutex.Unlock()
		if changed {
			c.w.event(corev1.EventTypeWarning, "Failed", "Error: %s", err)
		}
		return mountRetry
	}
	log, err := newContainerLog(filepath.Join(c.w.dir, "logs", c.spec.Name), c.restarts)
	if err != nil {
		logf("pod %s/%s: %v", c.w.namespace, c.w.name, err)
		return mountRetry
	}
	var running *process
	if c.spec.Name == registryContainer {
		if running, err = c.startRegistry(environment, log); err != nil {
			c.w.mutex.Lock()
			c.waiting, c.message, c.retryAt = "CreateContainerError", err.Error(), time.Now().Add(mountRetry)
			c.w.mutex.Unlock()
			return mountRetry
		}
	} else if text := c.w.k.setting(pod, logAnnotation); text != "" {
		for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
			log.write(line)
		}
	}
	c.w.mutex.Lock()
	c.startedAt, c.ended, c.ready, c.answered, c.waiting, c.message = time.Now(), false, false, false, "", ""
	c.process, c.log, c.endsAt = running, log, time.Time{}
	switch {
	case c.w.pod.Spec.RestartPolicy != corev1.RestartPolicyAlways && running == nil:
		c.endsAt = c.startedAt.Add(c.durationLocked(runAnnotation, time.Second))
		c.exitCode = atoi(c.settingLocked(exitCodeAnnotation), 0)
	case c.faultLocked() == "crash-loop":
		c.endsAt = c.startedAt.Add(300 * time.Millisecond)
		c.exitCode = 1
	}
	c.w.mutex.Unlock()
	c.w.event(corev1.EventTypeNormal, "Started", "Container started: %s", c.spec.Name)
	return c.watchRun(pod)
}

func (c *container) settingLocked(key string) string { return c.w.k.setting(c.w.pod, key) }

func (c *container) durationLocked(key string, fallback time.Duration) time.Duration {
	if value, err := time.ParseDuration(c.settingLocked(key)); err == nil {
		return value
	}
	return fallback
}

func (c *container) faultLocked() string {
	if value, ok := c.w.pod.Annotations[faultAnnotation]; ok {
		return value
	}
	return c.w.nodeFault
}

// watchRun checks a running container: has it ended, is it ready?
func (c *container) watchRun(pod *corev1.Pod) time.Duration {
	fault := c.w.fault()
	if c.process != nil {
		if !c.process.alive() {
			return c.finish(pod, exitCode(c.process.exit))
		}
		if fault == "crash-loop" && c.endsAt.IsZero() { // annotated while it ran
			c.endsAt, c.exitCode = time.Now(), 1
		}
	}
	next := time.Hour
	if !c.endsAt.IsZero() {
		wait := time.Until(c.endsAt)
		if wait <= 0 {
			code := c.exitCode
			if c.process != nil {
				c.process.stop(0)
			}
			return c.finish(pod, code)
		}
		next = wait
	}
	after := c.w.duration(readyAnnotation, time.Second)
	if fault == "slow" && c.w.current().Annotations[readyAnnotation] == "" {
		after += slowness
	}
	ready := fault != "never-ready" && fault != "crash-loop"
	if wait := time.Until(c.startedAt.Add(after)); wait > 0 {
		ready, next = false, min(next, wait)
	}
	if ready && c.process != nil && !c.answered {
		ready = false
		c.probe()
	}
	c.w.mutex.Lock()
	c.ready = ready
	c.w.mutex.Unlock()
	return next
}

// probe polls the registry's port in the background until it answers at all: readiness does not depend on the storage.
func (c *container) probe() {
	if c.probing {
		return
	}
	c.probing = true
	started := c.process
	go func() {
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", c.w.socket)
			},
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		}}
		answered := false
		for started.alive() && !answered {
			for _, scheme := range []string{"https", "http"} {
				if response, err := client.Get(scheme + "://registry/"); err == nil {
					response.Body.Close()
					answered = response.StatusCode != http.StatusBadRequest // "HTTP request to an HTTPS server"
					break
				}
			}
			if !answered {
				time.Sleep(probePause)
			}
		}
		c.w.mutex.Lock()
		c.probing = false
		c.answered = answered && c.process == started
		c.w.mutex.Unlock()
		c.w.nudge()
	}()
}

// finish records the end of a run.
func (c *container) finish(pod *corev1.Pod, code int) time.Duration {
	c.w.mutex.Lock()
	c.ended, c.ready, c.exitCode, c.finishedAt = true, false, code, time.Now()
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	c.previous = &corev1.ContainerStateTerminated{ExitCode: int32(code), Reason: reason,
		StartedAt: metav1.NewTime(c.startedAt), FinishedAt: metav1.NewTime(c.finishedAt)}
	willRestart := c.willRestart(pod)
	if willRestart {
		if c.backOff == 0 || c.finishedAt.Sub(c.startedAt) > time.Minute {
			c.backOff = firstBackOff
		} else {
			c.backOff = min(2*c.backOff, lastBackOff)
		}
		c.restartAt = c.finishedAt.Add(c.backOff)
		c.waiting = "CrashLoopBackOff"
		c.message = fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)", c.backOff, c.spec.Name, c.w.name, c.w.namespace, c.w.uid)
	}
	c.log.close()
	c.w.mutex.Unlock()
	if willRestart {
		c.w.event(corev1.EventTypeWarning, "BackOff", "Back-off restarting failed container %s in pod %s_%s(%s)", c.spec.Name, c.w.name, c.w.namespace, c.w.uid)
		return c.backOff
	}
	return time.Millisecond
}

// stop ends the container as the deletion of its Pod does.
func (c *container) stop() {
	if !c.isRunning() {
		return
	}
	code := 0
	if c.process != nil {
		c.process.stop(2 * time.Second)
		code = exitCode(c.process.exit)
	}
	c.w.mutex.Lock()
	c.ended, c.ready, c.finishedAt, c.waiting = true, false, time.Now(), ""
	if c.endsAt.IsZero() || c.process != nil {
		c.exitCode = code
	}
	reason := "Completed"
	if c.exitCode != 0 {
		reason = "Error"
	}
	c.previous = &corev1.ContainerStateTerminated{ExitCode: int32(c.exitCode), Reason: reason,
		StartedAt: metav1.NewTime(c.startedAt), FinishedAt: metav1.NewTime(c.finishedAt)}
	c.log.close()
	c.w.mutex.Unlock()
}

func (c *container) kill() {
	if c.process != nil {
		c.process.stop(0)
	}
}

// status is the container's entry in the Pod's status. Call with the worker's mutex held.
func (c *container) status(pod *corev1.Pod) corev1.ContainerStatus {
	started := !c.startedAt.IsZero() && !c.ended
	status := corev1.ContainerStatus{Name: c.spec.Name, Image: c.spec.Image, ImageID: c.spec.Image, Ready: c.ready,
		RestartCount: int32(c.restarts), Started: &started}
	if !c.startedAt.IsZero() {
		status.ContainerID = fmt.Sprintf("lab://%s-%s-%d", c.w.uid, c.spec.Name, c.restarts)
	}
	if c.restarts > 0 || c.ended {
		status.LastTerminationState.Terminated = c.previous
	}
	switch {
	case started && c.waiting == "":
		status.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(c.startedAt)}
	case c.ended && (!c.willRestart(pod) || c.waiting == ""):
		status.State.Terminated = c.previous
		status.LastTerminationState.Terminated = nil
	default:
		reason := c.waiting
		if reason == "" {
			reason = "ContainerCreating"
		}
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: c.message}
	}
	return status
}

// environment resolves the container's variables, including those from Secrets, ConfigMaps and fields.
func (c *container) environment(ctx context.Context, pod *corev1.Pod) (map[string]string, error) {
	found := map[string]string{}
	mapping := expansion.MappingFuncFor(found)
	for _, source := range c.spec.EnvFrom {
		var values map[string]string
		var err error
		switch {
		case source.SecretRef != nil:
			var content map[string][]byte
			content, err = c.w.secret(ctx, source.SecretRef.Name, source.SecretRef.Optional)
			values = map[string]string{}
			for key, value := range content {
				values[key] = string(value)
			}
		case source.ConfigMapRef != nil:
			values, err = c.w.configMap(ctx, source.ConfigMapRef.Name, source.ConfigMapRef.Optional)
		}
		if err != nil {
			return nil, err
		}
		for key, value := range values {
			found[source.Prefix+key] = value
		}
	}
	for _, variable := range c.spec.Env {
		value, from := variable.Value, variable.ValueFrom
		switch {
		case from == nil:
			value = expansion.Expand(value, mapping)
		case from.SecretKeyRef != nil:
			ref := from.SecretKeyRef
			content, err := c.w.secret(ctx, ref.Name, ref.Optional)
			if err != nil {
				return nil, err
			}
			data, ok := content[ref.Key]
			if !ok && !isTrue(ref.Optional) {
				return nil, fmt.Errorf("couldn't find key %s in Secret %s/%s", ref.Key, c.w.namespace, ref.Name)
			} else if !ok {
				continue
			}
			value = string(data)
		case from.ConfigMapKeyRef != nil:
			ref := from.ConfigMapKeyRef
			content, err := c.w.configMap(ctx, ref.Name, ref.Optional)
			if err != nil {
				return nil, err
			}
			data, ok := content[ref.Key]
			if !ok && !isTrue(ref.Optional) {
				return nil, fmt.Errorf("couldn't find key %s in ConfigMap %s/%s", ref.Key, c.w.namespace, ref.Name)
			} else if !ok {
				continue
			}
			value = data
		case from.FieldRef != nil:
			value = map[string]string{
				"metadata.name": pod.Name, "metadata.namespace": pod.Namespace, "metadata.uid": string(pod.UID),
				"spec.nodeName": pod.Spec.NodeName, "spec.serviceAccountName": pod.Spec.ServiceAccountName,
				"status.podIP": c.w.ip, "status.hostIP": nodeIP,
			}[from.FieldRef.FieldPath]
		}
		found[variable.Name] = value
	}
	return found, nil
}

// path maps a path in the container to one on this machine, by the longest volume mount that contains it.
func (c *container) path(inside string) (string, bool) {
	best, mapped := -1, ""
	for _, mount := range c.spec.VolumeMounts {
		root := filepath.Clean(mount.MountPath)
		if inside != root && !strings.HasPrefix(inside, root+"/") || len(root) <= best {
			continue
		}
		if folder, ok := c.w.volumes[mount.Name]; ok {
			best, mapped = len(root), filepath.Join(folder, mount.SubPath, strings.TrimPrefix(inside, root))
		}
	}
	return mapped, best >= 0
}

// startRegistry runs the real registry with the environment of its Deployment; only paths and the listener differ.
func (c *container) startRegistry(declared map[string]string, log *containerLog) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(c.w.dir, "home")
	if err := os.MkdirAll(filepath.Join(home, "no-certificates"), 0o700); err != nil {
		return nil, err
	}
	values := map[string]string{}
	for name, value := range declared {
		if inside, ok := c.path(value); ok && strings.HasPrefix(value, "/") {
			value = inside
		}
		values[name] = value
	}
	if file := values["REGISTRY_STORAGE_S3_CREDENTIALSCONFIGPATH"]; file != "" {
		values["AWS_SHARED_CREDENTIALS_FILE"] = file // the same file, under the variable that every build reads
	}
	switch c.w.fault() {
	case "no-storage-network":
		cutOff(values)
	case "login": // the registry creates the file, with a password nobody knows
		values["REGISTRY_AUTH"] = "htpasswd"
		values["REGISTRY_AUTH_HTPASSWD_REALM"] = "registry"
		values["REGISTRY_AUTH_HTPASSWD_PATH"] = filepath.Join(home, "htpasswd")
	}
	if values["REGISTRY_HTTP_TLS_CERTIFICATE"] != "" {
		if _, err := os.Stat(values["REGISTRY_HTTP_TLS_CERTIFICATE"]); os.IsNotExist(err) {
			if err := writeCertificate(home, "image-registry", []string{"localhost", "image-registry." + c.w.namespace + ".svc"}); err != nil {
				return nil, err
			}
			values["REGISTRY_HTTP_TLS_CERTIFICATE"] = filepath.Join(home, "tls.crt")
			values["REGISTRY_HTTP_TLS_KEY"] = filepath.Join(home, "tls.key")
		}
	}
	address := values["REGISTRY_HTTP_ADDR"]
	if address == "" {
		address = ":5000"
	}
	// A socket in the data folder instead of a port: nothing to choose, and no collisions.
	values["REGISTRY_HTTP_NET"], values["REGISTRY_HTTP_ADDR"] = "unix", c.w.socket
	values["HOME"], values["TMPDIR"] = home, home
	values["SSL_CERT_FILE"] = filepath.Join(home, "ca-bundle.pem")
	values["SSL_CERT_DIR"] = filepath.Join(home, "no-certificates")
	values["AWS_CONFIG_FILE"] = filepath.Join(home, "none")
	values["AWS_EC2_METADATA_DISABLED"] = "true" // no metadata service can give this Pod a role
	values["OTEL_TRACES_EXPORTER"] = "none"
	if err := os.WriteFile(values["SSL_CERT_FILE"], c.authorities(), 0o600); err != nil {
		return nil, err
	}
	configuration := filepath.Join(home, "config.yml")
	if err := os.WriteFile(configuration, []byte(registryConfiguration), 0o600); err != nil {
		return nil, err
	}
	_ = os.Remove(c.w.socket)
	environment := []string{"PATH=/usr/bin:/bin"}
	for name, value := range values {
		environment = append(environment, name+"="+value)
	}
	sort.Strings(environment)
	if strings.HasPrefix(address, ":") {
		address = "[::]" + address
	}
	log.rewrite = c.rewriter(address)
	started := &process{name: registryContainer, argv: []string{self, "registry", "serve", configuration}, env: environment, dir: home, output: log}
	if err := started.start(); err != nil {
		return nil, err
	}
	go func() {
		<-started.done
		c.w.nudge()
	}()
	return started, nil
}

// cutOff points the registry at a port where no storage listens: the Pod cannot reach its storage, the operator can.
func cutOff(values map[string]string) {
	scheme, _, found := strings.Cut(values["REGISTRY_STORAGE_S3_REGIONENDPOINT"], "://")
	if !found {
		scheme = "https"
	}
	values["REGISTRY_STORAGE_S3_REGIONENDPOINT"] = scheme + "://127.0.0.1:9"
}

// authorities returns the certificates in the trusted-CA volumes as one bundle.
func (c *container) authorities() []byte {
	bundle := []byte{}
	for _, name := range []string{"trusted-ca", "registry-certificates"} {
		folder, ok := c.w.volumes[name]
		if !ok {
			continue
		}
		entries, _ := os.ReadDir(folder)
		for _, entry := range entries {
			if content, err := os.ReadFile(filepath.Join(folder, entry.Name())); err == nil {
				bundle = append(append(bundle, content...), '\n')
			}
		}
	}
	return bundle
}

// rewriter replaces paths of this machine in the log by those the container sees.
func (c *container) rewriter(address string) *strings.Replacer {
	pairs := []string{c.w.socket, address}
	for _, mount := range c.spec.VolumeMounts {
		if folder, ok := c.w.volumes[mount.Name]; ok {
			pairs = append(pairs, filepath.Join(folder, mount.SubPath), filepath.Clean(mount.MountPath))
		}
	}
	pairs = append(pairs, filepath.Join(c.w.dir, "home"), "")
	return strings.NewReplacer(pairs...)
}

// containerLog is one run's log file; every line starts with a time stamp, as in a kubelet's.
type containerLog struct {
	path    string
	rewrite *strings.Replacer
	mutex   sync.Mutex
	file    *os.File
	rest    []byte
	closed  bool
}

func logFile(folder string, run int) string { return filepath.Join(folder, fmt.Sprintf("%d.log", run)) }

func newContainerLog(folder string, run int) (*containerLog, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	path := logFile(folder, run)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return &containerLog{path: path, file: file}, nil
}

func (l *containerLog) write(line string) { _, _ = l.Write([]byte(line + "\n")) }

// Write accepts a process's output in pieces of any size.
func (l *containerLog) Write(data []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.rest = append(l.rest, data...)
	for {
		end := strings.IndexByte(string(l.rest), '\n')
		if end < 0 {
			return len(data), nil
		}
		line := string(l.rest[:end])
		l.rest = l.rest[end+1:]
		if l.rewrite != nil {
			line = l.rewrite.Replace(line)
		}
		if _, err := fmt.Fprintf(l.file, "%s %s\n", time.Now().UTC().Format(time.RFC3339Nano), line); err != nil {
			return 0, err
		}
	}
}

func (l *containerLog) close() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if !l.closed {
		l.closed = true
		_ = l.file.Close()
	}
}

func (l *containerLog) isClosed() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.closed
}

// lastLogLines returns the last count lines of a log file, or all if count is negative.
func lastLogLines(reader *bufio.Scanner, count int) []string {
	lines := []string{}
	for reader.Scan() {
		lines = append(lines, reader.Text())
		if count >= 0 && len(lines) > count {
			lines = lines[1:]
		}
	}
	return lines
}
