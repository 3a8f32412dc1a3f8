// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Volumes whose Secret may be missing: the registry's certificate is generated when nobody provides one.
var replaceableSecrets = map[string]bool{"registry-tls": true}

func isTrue(value *bool) bool { return value != nil && *value }

func (w *worker) secret(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	secret, err := w.k.client.CoreV1().Secrets(w.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		if isTrue(optional) {
			return nil, nil
		}
		return nil, fmt.Errorf("secret %q not found", name)
	}
	if err != nil {
		return nil, err
	}
	return secret.Data, nil
}

func (w *worker) configMap(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	configMap, err := w.k.client.CoreV1().ConfigMaps(w.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		if isTrue(optional) {
			return nil, nil
		}
		return nil, fmt.Errorf("configmap %q not found", name)
	}
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for key, value := range configMap.BinaryData {
		found[key] = string(value)
	}
	for key, value := range configMap.Data {
		found[key] = value
	}
	return found, nil
}

// mountAll creates a folder for every volume of the Pod and returns them by name. The error reads like a kubelet's.
func (w *worker) mountAll(ctx context.Context, pod *corev1.Pod) (map[string]string, error) {
	folders := map[string]string{}
	for i := range pod.Spec.Volumes {
		volume := &pod.Spec.Volumes[i]
		folder := filepath.Join(w.dir, "volumes", volume.Name)
		if claim := volume.PersistentVolumeClaim; claim != nil {
			backing, err := w.claimFolder(ctx, claim.ClaimName)
			if err != nil {
				return nil, fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", volume.Name, err)
			}
			folders[volume.Name] = backing
			continue
		}
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, err
		}
		folders[volume.Name] = folder
		files, err := w.volumeFiles(ctx, volume)
		if err != nil {
			return nil, fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", volume.Name, err)
		}
		for name, content := range files {
			path := filepath.Join(folder, filepath.Clean("/"+name))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return nil, err
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				return nil, err
			}
		}
	}
	return folders, nil
}

// volumeFiles returns the content of a Secret, ConfigMap or projected volume; none for an emptyDir and unknown types.
func (w *worker) volumeFiles(ctx context.Context, volume *corev1.Volume) (map[string][]byte, error) {
	switch {
	case volume.Secret != nil:
		return w.secretFiles(ctx, volume.Secret.SecretName, volume.Secret.Items, isTrue(volume.Secret.Optional) || replaceableSecrets[volume.Name])
	case volume.ConfigMap != nil:
		return w.configMapFiles(ctx, volume.ConfigMap.Name, volume.ConfigMap.Items, isTrue(volume.ConfigMap.Optional))
	case volume.Projected != nil:
		all := map[string][]byte{}
		for _, source := range volume.Projected.Sources {
			files := map[string][]byte{}
			var err error
			switch {
			case source.Secret != nil:
				files, err = w.secretFiles(ctx, source.Secret.Name, source.Secret.Items, isTrue(source.Secret.Optional) || replaceableSecrets[volume.Name])
			case source.ConfigMap != nil:
				files, err = w.configMapFiles(ctx, source.ConfigMap.Name, source.ConfigMap.Items, isTrue(source.ConfigMap.Optional))
			}
			if err != nil {
				return nil, err
			}
			for name, content := range files {
				all[name] = content
			}
		}
		return all, nil
	}
	return nil, nil
}

func (w *worker) secretFiles(ctx context.Context, name string, items []corev1.KeyToPath, optional bool) (map[string][]byte, error) {
	data, err := w.secret(ctx, name, &optional)
	if err != nil {
		return nil, err
	}
	return selectItems("secret", w.namespace+"/"+name, data, items, optional)
}

func (w *worker) configMapFiles(ctx context.Context, name string, items []corev1.KeyToPath, optional bool) (map[string][]byte, error) {
	texts, err := w.configMap(ctx, name, &optional)
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{}
	for key, value := range texts {
		data[key] = []byte(value)
	}
	return selectItems("configmap", w.namespace+"/"+name, data, items, optional)
}

func selectItems(kind, name string, data map[string][]byte, items []corev1.KeyToPath, optional bool) (map[string][]byte, error) {
	if len(items) == 0 {
		return data, nil
	}
	selected := map[string][]byte{}
	for _, item := range items {
		content, ok := data[item.Key]
		if !ok && !optional {
			return nil, fmt.Errorf("references non-existent %s key: %s (%s)", kind, item.Key, name)
		}
		if ok {
			selected[item.Path] = content
		}
	}
	return selected, nil
}

// claimFolder returns the folder of the volume that a claim is bound to. It outlives the Pod.
func (w *worker) claimFolder(ctx context.Context, name string) (string, error) {
	claim, err := w.k.client.CoreV1().PersistentVolumeClaims(w.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	if claim.Spec.VolumeName == "" {
		return "", fmt.Errorf("claim %q is not bound", name)
	}
	folder := w.k.volumeFolder(claim.Spec.VolumeName)
	return folder, os.MkdirAll(folder, 0o700)
}

func (k *kubelet) volumeFolder(volume string) string { return filepath.Join(k.dir, "volumes", volume) }
