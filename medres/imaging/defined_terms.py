"""Which words of a header may be repeated: those that the standard or the trade lists.

Text in a header may hold anything, a patient's name as well, in any attribute. What ends in a
record is therefore never the file's own text but an entry of these lists that it agrees with; what
agrees with none is left out. An entry is not whose image it is.
"""

from __future__ import annotations

import functools
import re


def _terms(words: str) -> frozenset[str]:
    return frozenset(words.split())


# PS3.3 C.7.3.1.1.1, retired ones too.
MODALITIES = _terms(
    """ANN AR AS ASMT AU BDUS BI BMD CD CF CFM CP CR CS CT CTPROTOCOL DD DF DG DM DMS DOC DS DX EC
    ECG EEG EMG EOG EPS ES FA FID FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MS
    NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF RG
    RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF ST
    STAIN TEXTUREMAP TG US VA VF XA XAPROTOCOL XC"""
)
# PS3.3 C.8.1.2 for CR, CID 4014's abbreviations for mammography, and what makers write for DX.
VIEW_POSITIONS = _terms(
    """AP PA LL RL RLD LLD RLO LLO ML MLO LM LMO CC FB ISO SIO XCC XCCL XCCM RM RCC LCC RMLO LMLO
    CV AT LAT LATERAL MEDIOLATERAL OBL OBLIQUE LAO RAO LPO RPO AXIAL SUNRISE TANGENTIAL TUNNEL
    FRONTAL DORSOPLANTAR PLANTODORSAL SWIMMERS TOWNES WATERS STENVERS ANTERIOR POSTERIOR SUPINE
    PRONE ERECT DECUBITUS"""
)
# PS3.16 Annex L, without blanks; and what is found beside it.
BODY_PARTS = _terms(
    """ABDOMEN ABDOMENPELVIS ABDOMINALAORTA ACJOINT ADRENAL AMNIOTICFLUID ANKLE ANUSRECTUMSIGMD
    AORTA AORTICARCH APPENDIX ARM ARTERY ASCAORTA ASCENDINGCOLON ATRIUM AXILLA BACK BILEDUCT
    BILIARYTRACT BLADDER BRACHIALA BRAIN BREAST BRONCHUS BUTTOCK CALCANEUS CALF CAROTID CBD
    CEREBELLUM CERVIX CHEEK CHEST CHESTABDOMEN CHESTABDPELVIS CHOROIDPLEXUS CIRCLEOFWILLIS
    CLAVICLE COCCYX COLON COMMONBILEDUCT CORNEA CORONARYARTERY CORONARYSINUS CSPINE CTSPINE
    CULDESAC DESCAORTA DESCENDINGCOLON DUODENUM EAR ELBOW ENDOARTERIAL ENDOCARDIAC
    ENDOESOPHAGEAL ENDOMETRIUM ENDORECTAL ENDOVAGINAL ENDOVASCULAR EPIDIDYMIS EPIGASTRIC
    ESOPHAGUS EXTREMITY EYE EYELID FACE FEMUR FETALARM FETALDIGIT FETALHEART FETALLEG FETALPOLE
    FIBULA FINGER FLANK FONTANEL FOOT FOREARM GALLBLADDER GESTSAC GLUTEAL HAND HEAD HEADNECK
    HEART HIP HUMERUS HYPOGASTRIC HYPOPHARYNX IAC ILEUM ILIUM INGUINAL INTRACRANIAL JAW JEJUNUM
    JOINT KIDNEY KNEE LARGEINTESTINE LARYNX LATRIUM LATVENTRICLE LEG LIVER LLQ LOWERLEG
    LOWERLIMB LSPINE LSSPINE LUMBAR LUNG LUQ LVENTRICLE MANDIBLE MASTOID MAXILLA MEDIASTINUM
    MOUTH NASOPHARYNX NECK NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV NOSE OPTICCANAL ORBIT
    OVARY PANCBILEDUCT PANCREAS PANCREATICDUCT PARASTERNAL PARATHYROID PAROTID PATELLA PELVIS
    PELVISLOWEXTREMT PENIS PERINEUM PHANTOM PHARYNX PHARYNXLARYNX PLACENTA POPLITEALFOSSA
    PROSTATE PULMONARYA PULMONARYV RADIUS RADIUSULNA RATRIUM RECTUM RETROPERITONEUM RIB RLQ RUQ
    RVENTRICLE SCALP SCAPULA SCJOINT SCLERA SCROTUM SELLA SEMVESICLE SESAMOID SHOULDER SIGMOID
    SIJOINT SINUS SKULL SMALLINTESTINE SPINALCORD SPINE SPLEEN SSPINE STERNUM STOMACH SUBCOSTAL
    SUBMANDIBULAR SUPRACLAVICULAR SUPRAPUBIC SVC TESTIS THALAMUS THIGH THORAX THUMB THYMUS
    THYROID TIBIA TIBIAFIBULA TLSPINE TMJ TMJOINT TOE TONGUE TRACHEA TRACHEABRONCHUS TSPINE ULNA
    UMBILICAL UPPERARM UPPERLIMB UPRURINARYTRACT URETER URETHRA UTERUS VAGINA VEIN VULVA
    WHOLEBODY WRIST ZYGOMA"""
)
# PS3.3 C.7.6.1.1.2 and of each object, values 1 to 4; Siemens', Philips' and GE's beyond. _ for a
# blank.
IMAGE_TYPES = _terms(
    """ORIGINAL DERIVED MIXED PRIMARY SECONDARY AXIAL LOCALIZER OTHER NONE VOLUME WHOLE_BODY ANGIO
    ANGIO_TIME CARDIAC CARDIAC_CTA CARDIAC_GATED CARDRESP_GATED RESP_GATED GATED DYNAMIC STATIC
    FLUOROSCOPY MOTION PERFUSION PRE_CONTRAST POST_CONTRAST REST STRESS NON_PARALLEL PARALLEL
    ATTENUATION REFERENCE FUSED ADDITION DIVISION MASKED MAXIMUM MEAN MEDIAN MINIMUM
    MULTIPLICATION QUANTITY RESAMPLED STD_DEVIATION SUBTRACTION FILTERED ENERGY_PROP_WT
    VIRTUAL_MONO ADC ASL BOLD DIFFUSION DIFFUSION_ANISO DIXON FAT FLAIR FLOW_ENCODED
    FLUID_ATTENUATED FMRI IN_PHASE MAGNITUDE METABOLITE_MAP MULTIECHO OUT_OF_PHASE PHASE
    PHASE_MAP PROTON_DENSITY REALTIME STIR T1 T2 T2_STAR T2_MAP TAGGING TEMPERATURE
    TIME_OF_FLIGHT TOF VELOCITY WATER DENSITY_MAP IMAGE_ADDITION DIFFUSION_MAP MODULUS_SUBTRACT
    MPR CPR MIP MINIP MIN_IP SURFACE REFORMATTED AVERAGE CURVED PROJECTION PROJECTION_IMAGE
    SCREEN_SAVE PROCESSED NORMAL UNSPECIFIED TOMO GATED_TOMO RECON_TOMO RECON_GATED_TOMO
    EMISSION TRANSMISSION SINGLE_PLANE SINGLE_A SINGLE_B BIPLANE_A BIPLANE_B TOMOSYNTHESIS
    TOMO_PROJ TOMO_2D GENERATED_2D STEREOSCOPIC MAMMOGRAPHY RADIOGRAPH PORTAL DRR SIMULATOR
    BLANK FLUENCE ABDOMINAL BREAST CHEST CARDIOLOGY ENDOCAVITARY ENDORECTAL ENDOVAGINAL
    EPICARDIAL FETAL_HEART GYNECOLOGY INTRACARDIAC INTRAOPERATIVE INTRAVASCULAR MUSCULOSKELETAL
    NEONATAL_HEAD OBSTETRICAL OPHTHALMIC PEDIATRIC PELVIC RETROPERITONEAL SCROTAL SMALL_PARTS
    TEE TTE THYROID TRANSCRANIAL VASCULAR M R I P SE FFE IR GR EP RM ND NORM DIS2D DIS3D SUB FIL
    FM MOSAIC TRACEW FA CSA_MPR CSA_MIP CSAPARALLEL CSA_BLACK CSA_IMAGE CT_SOM5_SPI CT_SOM5_SEQ
    CT_SOM5_TOP CT_SOM7_SPI CT_SOM7_SEQ CT_SOM7_TOP LABEL THUMBNAIL OVERVIEW FLOW SCOUT SAGITTAL
    CORONAL OBLIQUE"""
)
ULTRASOUND_FLAGS = re.compile("[0-9]{4}")  # PS3.3 C.8.5.6.1.1, value 4
# SNOMED codes of chest, abdomen, pelvis and the last two, and what later editions of CID 4 have.
REPLACED_CODES = {
    **dict.fromkeys(("51185008", "43799004"), "816094009"),
    **dict.fromkeys(("113345001", "818983003"), "818981001"),
    "12921003": "816092008",
    "416949008": "818982008",
}
UID = re.compile("[0-9.]{1,64}")  # PS3.5 9.1
# A word of Manufacturer (0008,0070), and whose it is.
MAKERS = {
    **dict.fromkeys(("ge", "gems", "gehealthcare", "lunar"), "GE"),
    **dict.fromkeys(("siemens", "acuson"), "Siemens"),
    **dict.fromkeys(("philips", "marconi", "picker", "adac", "atl"), "Philips"),
    **dict.fromkeys(("canon", "toshiba"), "Canon"),
    **dict.fromkeys(("fuji", "fujifilm", "sonosite"), "Fujifilm"),
    **dict.fromkeys(("hitachi", "aloka"), "Hitachi"),
    **dict.fromkeys(("agfa", "swissray"), "Agfa"),
    **dict.fromkeys(("carestream", "kodak"), "Carestream"),
    **dict.fromkeys(("hologic", "lorad"), "Hologic"),
    **dict.fromkeys(("konica", "minolta", "konicaminolta"), "Konica Minolta"),
    **dict.fromkeys(("samsung", "medison", "neurologica"), "Samsung"),
    **dict.fromkeys(("uih", "unitedimaging"), "United Imaging"),
    **dict.fromkeys(("sirona", "dentsply"), "Dentsply Sirona"),
    **{
        name.lower(): name
        for name in _terms(
            """Accuray Analogic Barco Bruker CareRay Dexis DRGEM DRTECH Elekta Elscint EOS Esaote
            Giotto Instrumentarium iRay Lumisys Mediso Mindray Neusoft Oldelft
            Planmeca Planmed Rayence Sectra Shimadzu Trixell Varex Varian Vatech
            Vidar Vieworks Ziehm"""
        )
    },
    "medres": "medres phantom",
}


def listed(text: str, terms: frozenset[str]) -> str:
    """The text in capitals where it is one of the terms, blanks aside; empty where it is none."""
    term = text.strip().upper()
    return term if {_joined(term, "_"), _joined(term, "")} & terms else ""


def listed_image_type(text: str) -> str:
    """One value of Image Type (0008,0008); empty where the standard and the makers list it not."""
    flags = ULTRASOUND_FLAGS.fullmatch(text.strip())
    return text.strip() if flags else listed(text, IMAGE_TYPES)


def maker(text: str) -> str:
    """Whose equipment it is, of Manufacturer (0008,0070); empty where no maker is recognised."""
    words = re.findall("[a-z0-9]+", text.lower().replace(".", ""))
    return next((MAKERS[word] for word in words if word in MAKERS), "")


def is_uid(text: str) -> bool:
    """Whether it has the form of a UID, in which no name can be written."""
    return UID.fullmatch(text) is not None


@functools.lru_cache(maxsize=1000)
def meaning_of_view(value: str, scheme: str) -> str:
    """The standard's own meaning of a view's code (CID 4010, 4014); empty where it lists none."""
    return _meaning(value, scheme, ("CID4010", "CID4014"))


@functools.lru_cache(maxsize=1000)
def meaning_of_region(value: str, scheme: str) -> str:
    """The standard's own meaning of an anatomic region's code (CID 4031, 4009, 4030, 4)."""
    return _meaning(value, scheme, ("CID4031", "CID4009", "CID4030", "CID4"))


def _meaning(value: str, scheme: str, contexts: tuple[str, ...]) -> str:
    from pydicom.sr.codedict import codes  # half a second, for the few files that need it
    from pydicom.sr.coding import Code

    code = Code(value, "SRT" if scheme == "SNM3" else scheme, "")
    for old, new in REPLACED_CODES.items():
        if code == Code(old, "SCT", ""):
            code = Code(new, "SCT", "")
    return next(
        (
            str(concept.meaning)
            for context in contexts
            for concept in getattr(codes, context).concepts.values()
            if concept == code
        ),
        "",
    )


def _joined(term: str, by: str) -> str:
    return re.sub("[ _-]+", by, term)
