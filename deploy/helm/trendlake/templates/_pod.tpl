{{/* What all pods have in common. Everything is named after the release. */}}

{{- define "trendlake.labels" -}}
app.kubernetes.io/name: trendlake
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "trendlake.selector" -}}
app.kubernetes.io/name: trendlake
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of a pod. They do not change with the version, so that an upgrade does not run a job again. */}}
{{- define "trendlake.podMetadata" -}}
labels:
  {{- include "trendlake.selector" . | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
  {{- with .Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The pod of a component: `component`, `args`, and `ports` with probes for the daemon. */}}
{{- define "trendlake.pod" -}}
serviceAccountName: {{ .Release.Name }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if ne .component "serve" }}
restartPolicy: Never
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
# A put under way may take twenty seconds; everything else ends within five.
terminationGracePeriodSeconds: 30
{{- if eq .component "serve" }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "trendlake.selector" . | nindent 8 }}
        app.kubernetes.io/component: serve
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: trendlake
    image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    args:
      {{- toYaml .args | nindent 6 }}
    envFrom:
      - secretRef:
          name: {{ .Values.secrets.lake }}
          optional: true
    {{- if eq .component "serve" }}
    ports:
      - name: http
        containerPort: 8080
        protocol: TCP
    readinessProbe:
      httpGet:
        path: /readyz
        port: http
      periodSeconds: 10
      timeoutSeconds: 3
    livenessProbe:
      httpGet:
        path: /healthz
        port: http
      periodSeconds: 20
      timeoutSeconds: 5
      failureThreshold: 3
    {{- end }}
    resources:
      {{- toYaml .Values.resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      capabilities:
        drop:
          - ALL
      readOnlyRootFilesystem: true
    volumeMounts:
      - name: config
        mountPath: /etc/trendlake/config
        readOnly: true
      - name: secrets
        mountPath: /etc/trendlake/secrets
        readOnly: true
volumes:
  - name: config
    configMap:
      name: {{ .Release.Name }}
  - name: secrets
    secret:
      secretName: {{ .Values.secrets.streams }}
      defaultMode: 0440
{{- end }}

{{/* When a pod of a job has failed for good: `action` is FailJob or FailIndex. */}}
{{- define "trendlake.podFailurePolicy" -}}
rules:
  # A pod that was evicted or whose node went away has not failed.
  - action: Ignore
    onPodConditions:
      - type: DisruptionTarget
        status: "True"
  # What no repetition mends: a person has to look. All else (10, 12, 74, 75, 130, 143) is tried again.
  - action: {{ . }}
    onExitCodes:
      containerName: trendlake
      operator: In
      values:
        - 2
        - 11
        - 65
        - 70
        - 77
        - 78
{{- end }}
