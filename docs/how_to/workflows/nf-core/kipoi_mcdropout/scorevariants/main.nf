process KIPOI_MCDROPOUT_SCOREVARIANTS {
    tag "$meta.id"
    label 'process_medium'

    conda "${moduleDir}/environment.yml"
    container "${params.kipoi_mcdropout_container ?: 'kipoi_mcdropout:0.1.0'}"

    input:
    tuple val(meta), path(vcf)
    tuple val(meta2), path(fasta)
    path model

    output:
    tuple val(meta), path("${prefix}.vcf.gz")     , emit: vcf
    tuple val(meta), path("${prefix}.parquet")    , emit: table
    tuple val(meta), path("${prefix}.skipped.tsv"), emit: skipped
    tuple val(meta), path("*_mqc.json")           , emit: multiqc
    tuple val("${task.process}"), val('kipoi_mcdropout'), eval("mcdropout --version | cut -d' ' -f2"), topic: versions, emit: versions_kipoi_mcdropout

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix   = task.ext.prefix ?: "${meta.id}.mcdropout"
    """
    OMP_NUM_THREADS=${task.cpus} mcdropout score_variants ${model} \\
        -i ${vcf} -f ${fasta} ${args} \\
        -o ${prefix}.vcf.gz -t ${prefix}.parquet --skipped ${prefix}.skipped.tsv

    mcdropout multiqc ${prefix}.parquet ${prefix}.skipped.tsv --sample ${meta.id} -o ${prefix}_mqc.json
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}.mcdropout"
    """
    echo | gzip > ${prefix}.vcf.gz
    touch ${prefix}.parquet ${prefix}.skipped.tsv ${prefix}_mqc.json ${prefix}_ledger_mqc.json
    """
}
