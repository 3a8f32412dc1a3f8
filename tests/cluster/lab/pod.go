// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A crashed container is restarted after 1 s, 2 s, 4 s … 10 s: a real kubelet takes ten times as long.
const (
	firstBackOff = time.Second
	lastBackOff  = 10 * time.Second
	mountRetry   = time.Second
)

// worker runs one Pod's lifecycle. All of it happens in run; other goroutines only read what the mutex guards.
type worker struct {
	k         *kubelet
	uid       types.UID
	namespace string
	name      string
	ip        string
	dir       string
	socket    string
	wake      chan struct{}
	gone      chan struct{} // closed when the object is deleted

	mutex      sync.Mutex // guards pod, and the fields of containers that status and logs read
	pod        *corev1.Pod
	containers []*container

	nodeFault    string // the Node's fault when the Pod started
	started      metav1.Time
	volumes      map[string]string // volume name to folder
	mounted      bool
	mountFailed  string
	mountAt      time.Time
	deletedAt    time.Time
	lastWritten  *corev1.PodStatus
	terminalDone bool
}

func newWorker(k *kubelet, pod *corev1.Pod, ip string) *worker {
	digest := fnv.New64a()
	_, _ = digest.Write([]byte(pod.UID))
	w := &worker{
		k: k, uid: pod.UID, namespace: pod.Namespace, name: pod.Name, ip: ip, pod: pod,
		dir:    filepath.Join(k.dir, "pods", string(pod.UID)),
		socket: filepath.Join(k.dir, "s", fmt.Sprintf("%016x.sock", digest.Sum64())),
		wake:   make(chan struct{}, 1), gone: make(chan struct{}), started: metav1.Now(),
	}
	if isRegistry(pod) {
		w.nodeFault = k.setting(&corev1.Pod{Spec: pod.Spec}, faultAnnotation)
	}
	for i := range pod.Spec.Containers {
		w.containers = append(w.containers, &container{w: w, spec: &pod.Spec.Containers[i]})
	}
	return w
}

// isRegistry reports whether a Pod runs a registry: Node-wide faults apply only to those.
func isRegistry(pod *corev1.Pod) bool {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == registryContainer {
			return true
		}
	}
	return false
}

func (w *worker) update(pod *corev1.Pod) {
	w.mutex.Lock()
	w.pod = pod
	w.mutex.Unlock()
	w.nudge()
}

func (w *worker) nudge() {
	select {
	case w.wake <- struct{}{}:
	default: // a sync is due already
	}
}

func (w *worker) markGone() { close(w.gone) }

func (w *worker) current() *corev1.Pod {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.pod
}

func (w *worker) fault() string {
	if value, ok := w.current().Annotations[faultAnnotation]; ok {
		return value
	}
	return w.nodeFault
}

func (w *worker) duration(key string, fallback time.Duration) time.Duration {
	text := w.k.setting(w.current(), key)
	if text == "" {
		return fallback
	}
	value, err := time.ParseDuration(text)
	if err != nil {
		logf("pod %s/%s: annotation %s: %v", w.namespace, w.name, key, err)
		return fallback
	}
	return value
}

func (w *worker) event(kind, reason, format string, arguments ...any) {
	w.k.recorder.Eventf(w.current(), kind, reason, format, arguments...)
}

// run syncs the Pod whenever something changed or is due, until the Pod is gone.
func (w *worker) run(ctx context.Context) {
	defer func() {
		w.killAll()
		_ = os.RemoveAll(w.dir)
		_ = os.Remove(w.socket)
	}()
	for {
		next, finished := w.sync(ctx)
		if finished {
			<-waitEither(ctx.Done(), w.gone)
			return
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-w.gone:
			timer.Stop()
			return
		case <-w.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

func waitEither(first, second <-chan struct{}) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		select {
		case <-first:
		case <-second:
		}
		close(done)
	}()
	return done
}

func (w *worker) killAll() {
	for _, c := range w.containers {
		c.kill()
	}
}

// sync does what is due now. It returns the time until the next sync, and whether the Pod has ended.
func (w *worker) sync(ctx context.Context) (time.Duration, bool) {
	pod := w.current()
	if pod.DeletionTimestamp != nil {
		return w.terminate(ctx, pod)
	}
	next := time.Minute
	sooner := func(wait time.Duration) { next = min(next, max(wait, time.Millisecond)) }
	if !w.mounted {
		if wait := time.Until(w.mountAt); wait > 0 {
			return wait, false
		}
		volumes, err := w.mountAll(ctx, pod)
		if err != nil {
			if w.mountFailed != err.Error() {
				w.event(corev1.EventTypeWarning, "FailedMount", "%s", err)
				w.mountFailed = err.Error()
			}
			w.mountAt = time.Now().Add(mountRetry)
			w.writeStatus(ctx, pod)
			return mountRetry, false
		}
		w.volumes, w.mounted = volumes, true
	}
	for _, c := range w.containers {
		sooner(c.sync(ctx, pod))
	}
	w.writeStatus(ctx, pod)
	if w.terminalDone {
		return time.Hour, false // nothing left to do until it is deleted
	}
	return next, false
}

// terminate stops the containers when their time is up, then deletes the object, as a kubelet does (grace period 0).
func (w *worker) terminate(ctx context.Context, pod *corev1.Pod) (time.Duration, bool) {
	if w.deletedAt.IsZero() {
		w.deletedAt = time.Now()
		for _, c := range w.containers {
			if c.isRunning() {
				w.event(corev1.EventTypeNormal, "Killing", "Stopping container %s", c.spec.Name)
			}
		}
	}
	if wait := time.Until(w.deletedAt.Add(w.duration(goneAnnotation, time.Second))); wait > 0 {
		w.writeStatus(ctx, pod)
		return wait, false
	}
	for _, c := range w.containers {
		c.stop()
	}
	w.writeStatus(ctx, pod)
	zero := int64(0)
	err := w.k.client.CoreV1().Pods(w.namespace).Delete(ctx, w.name, metav1.DeleteOptions{
		GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &w.uid}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return 200 * time.Millisecond, false
	}
	return 0, true
}

// phase derives the Pod's phase from its containers, as the Pod lifecycle document defines it.
func (w *worker) phase(pod *corev1.Pod) corev1.PodPhase {
	running, failed, pending := 0, 0, 0
	for _, c := range w.containers {
		switch {
		case c.ended && !c.willRestart(pod):
			if c.exitCode != 0 {
				failed++
			}
		case c.startedAt.IsZero():
			pending++
		default:
			running++
		}
	}
	switch {
	case pending > 0:
		return corev1.PodPending
	case running > 0:
		return corev1.PodRunning
	case failed > 0:
		return corev1.PodFailed
	default:
		return corev1.PodSucceeded
	}
}

// writeStatus reports the Pod's state when it differs from the last report.
func (w *worker) writeStatus(ctx context.Context, pod *corev1.Pod) {
	w.mutex.Lock()
	phase := w.phase(pod)
	terminal := phase == corev1.PodSucceeded || phase == corev1.PodFailed
	hostIP := nodeIP
	for index, name := range nodeNames {
		if name == pod.Spec.NodeName {
			hostIP = nodeAddress(index)
		}
	}
	status := &corev1.PodStatus{Phase: phase, HostIP: hostIP, HostIPs: []corev1.HostIP{{IP: hostIP}}, StartTime: &w.started,
		ObservedGeneration: pod.Generation}
	if w.mounted && w.ip != "" {
		status.PodIP, status.PodIPs = w.ip, []corev1.PodIP{{IP: w.ip}}
	}
	unready := []string{}
	for _, c := range w.containers {
		state := c.status(pod)
		if !state.Ready {
			unready = append(unready, c.spec.Name)
		}
		status.ContainerStatuses = append(status.ContainerStatuses, state)
	}
	w.mutex.Unlock()
	for i := range pod.Spec.InitContainers { // reported as if they had run
		init := &pod.Spec.InitContainers[i]
		state := corev1.ContainerStatus{Name: init.Name, Image: init.Image, ImageID: init.Image, Ready: w.mounted,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}}}
		if w.mounted {
			state.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: w.started, FinishedAt: w.started}}
		}
		status.InitContainerStatuses = append(status.InitContainerStatuses, state)
	}
	status.Conditions = w.conditions(pod, unready, terminal)
	if w.lastWritten != nil && reflect.DeepEqual(status, w.lastWritten) {
		w.terminalDone = terminal
		return
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": w.uid}, "status": status})
	if err == nil {
		_, err = w.k.client.CoreV1().Pods(w.namespace).Patch(ctx, w.name, types.MergePatchType, body, metav1.PatchOptions{}, "status")
	}
	switch {
	case err == nil:
		w.lastWritten = status
		w.terminalDone = terminal
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err) || ctx.Err() != nil:
	default:
		logf("pod %s/%s: status not written: %v", w.namespace, w.name, err)
		time.AfterFunc(200*time.Millisecond, w.nudge)
	}
}

// conditions keeps the conditions others own (PodScheduled) and the transition times of those that did not change.
func (w *worker) conditions(pod *corev1.Pod, unready []string, terminal bool) []corev1.PodCondition {
	now := metav1.Now()
	set := func(kind corev1.PodConditionType, good bool, reason, message string) corev1.PodCondition {
		fresh := corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now, ObservedGeneration: pod.Generation}
		if !good {
			fresh.Status, fresh.Reason, fresh.Message = corev1.ConditionFalse, reason, message
		}
		for _, known := range [][]corev1.PodCondition{pod.Status.Conditions, w.lastConditions()} {
			for _, former := range known {
				if former.Type == kind && former.Status == fresh.Status {
					fresh.LastTransitionTime = former.LastTransitionTime
				}
			}
		}
		return fresh
	}
	reason, message := "ContainersNotReady", fmt.Sprintf("containers with unready status: %v", unready)
	if terminal {
		reason, message = "PodCompleted", ""
	}
	ready := len(unready) == 0 && !terminal
	found := []corev1.PodCondition{
		set(corev1.PodReadyToStartContainers, w.mounted, "", ""), set(corev1.PodInitialized, true, "", ""),
		set(corev1.PodReady, ready, reason, message), set(corev1.ContainersReady, ready, reason, message),
	}
	for _, other := range pod.Status.Conditions {
		switch other.Type {
		case corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady:
		default:
			found = append(found, other)
		}
	}
	return found
}

func (w *worker) lastConditions() []corev1.PodCondition {
	if w.lastWritten == nil {
		return nil
	}
	return w.lastWritten.Conditions
}

func atoi(text string, fallback int) int {
	if value, err := strconv.Atoi(text); err == nil {
		return value
	}
	return fallback
}
