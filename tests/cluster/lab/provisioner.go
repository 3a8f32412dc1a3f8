// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

const (
	provisionerName      = "lab.alauda.io/folder"
	selectedNode         = "volume.kubernetes.io/selected-node"
	provisionedBy        = "pv.kubernetes.io/provisioned-by"
	provisionedByStorage = "volume.kubernetes.io/storage-provisioner"
)

// startProvisioner creates folders as volumes for claims of our StorageClasses, expands them, and removes them when the
// claim is deleted. The real controller binds them, and the real scheduler selects nodes (WaitForFirstConsumer).
func (k *kubelet) startProvisioner(ctx context.Context) error {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	enqueue := func(kind string) func(any) {
		return func(object any) {
			if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
				queue.Add(kind + "|" + key)
			}
		}
	}
	handler := func(kind string) cache.ResourceEventHandlerFuncs {
		add := enqueue(kind)
		return cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, object any) { add(object) }}
	}
	if _, err := k.factory.Core().V1().PersistentVolumeClaims().Informer().AddEventHandler(handler("claim")); err != nil {
		return err
	}
	if _, err := k.factory.Core().V1().PersistentVolumes().Informer().AddEventHandler(handler("volume")); err != nil {
		return err
	}
	k.factory.Storage().V1().StorageClasses().Informer()
	go func() { <-ctx.Done(); queue.ShutDown() }()
	go func() {
		for {
			item, quit := queue.Get()
			if quit {
				return
			}
			if err := k.provision(ctx, item); err != nil && ctx.Err() == nil {
				logf("provisioner: %s: %v", item, err)
				queue.AddRateLimited(item)
			} else {
				queue.Forget(item)
			}
			queue.Done(item)
		}
	}()
	return nil
}

func (k *kubelet) provision(ctx context.Context, item string) error {
	var kind, key string
	for i := range item {
		if item[i] == '|' {
			kind, key = item[:i], item[i+1:]
			break
		}
	}
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	if kind == "volume" {
		volume, err := k.factory.Core().V1().PersistentVolumes().Lister().Get(name)
		if apierrors.IsNotFound(err) {
			return nil
		} else if err != nil {
			return err
		}
		return k.reclaim(ctx, volume)
	}
	claim, err := k.factory.Core().V1().PersistentVolumeClaims().Lister().PersistentVolumeClaims(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	if claim.Spec.VolumeName != "" {
		return k.expand(ctx, claim)
	}
	return k.createVolume(ctx, claim)
}

func (k *kubelet) createVolume(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	if claim.DeletionTimestamp != nil || claim.Annotations[provisionedByStorage] != provisionerName || claim.Spec.StorageClassName == nil {
		return nil // the volume controller has not asked us (yet)
	}
	class, err := k.factory.Storage().V1().StorageClasses().Lister().Get(*claim.Spec.StorageClassName)
	if apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	waits := class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
	if class.Provisioner != provisionerName || (waits && claim.Annotations[selectedNode] == "") {
		return nil
	}
	name := "pvc-" + string(claim.UID)
	folder := k.volumeFolder(name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	reclaim := corev1.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		reclaim = *class.ReclaimPolicy
	}
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisionerName}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: reclaim,
			StorageClassName:              class.Name,
			VolumeMode:                    claim.Spec.VolumeMode,
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{
				Path: folder}},
			ClaimRef: &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace,
				Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion},
		},
	}
	_, err = k.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if err == nil {
		k.recorder.Eventf(claim, corev1.EventTypeNormal, "ProvisioningSucceeded", "Successfully provisioned volume %s", name)
	}
	return err
}

// expand expands the volume of a bound claim that requests more; the API server checked that the class allows it.
func (k *kubelet) expand(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	request, current := claim.Spec.Resources.Requests[corev1.ResourceStorage], claim.Status.Capacity[corev1.ResourceStorage]
	if claim.Status.Phase != corev1.ClaimBound || request.Cmp(current) <= 0 {
		return nil
	}
	volume, err := k.factory.Core().V1().PersistentVolumes().Lister().Get(claim.Spec.VolumeName)
	if err != nil {
		return err
	}
	if volume.Annotations[provisionedBy] != provisionerName {
		return nil
	}
	capacity := map[string]any{"capacity": map[string]any{"storage": request.String()}}
	if err := patch(map[string]any{"spec": capacity}, func(body []byte) error {
		_, err := k.client.CoreV1().PersistentVolumes().Patch(ctx, volume.Name, types.MergePatchType, body, metav1.PatchOptions{})
		return err
	}); err != nil {
		return err
	}
	return patch(map[string]any{"status": map[string]any{"capacity": capacity["capacity"], "conditions": nil}}, func(body []byte) error {
		_, err := k.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(ctx, claim.Name, types.MergePatchType, body, metav1.PatchOptions{}, "status")
		return err
	})
}

func patch(body map[string]any, send func([]byte) error) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return send(content)
}

// reclaim removes a volume of ours, with its data, once its claim is deleted.
func (k *kubelet) reclaim(ctx context.Context, volume *corev1.PersistentVolume) error {
	if volume.Status.Phase != corev1.VolumeReleased || volume.Annotations[provisionedBy] != provisionerName ||
		volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete || volume.DeletionTimestamp != nil {
		return nil
	}
	ref := volume.Spec.ClaimRef
	claim, err := k.client.CoreV1().PersistentVolumeClaims(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if err == nil && claim.UID == ref.UID {
		return fmt.Errorf("claim %s/%s still exists", ref.Namespace, ref.Name)
	} else if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	if err := os.RemoveAll(k.volumeFolder(volume.Name)); err != nil {
		return err
	}
	err = k.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
